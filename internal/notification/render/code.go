package render

import (
	"errors"
	"time"
)

// verification is a mail that carries a one-time code.
const verification = "verification"

var codeParts = []string{"subject", "preheader", "heading", "intro", "validity", "warning", "ignore", "footer"}

// Code is what a mail with a one-time code says.
type Code struct {
	Code string
	// Now and ExpiresAt give the lifetime as the reader sees it: minutes left at the time of sending, rounded to the
	// nearest and at least 1, and the minute of the day in UTC up to which the code certainly works.
	Now, ExpiresAt time.Time
}

// Verification is the mail that proves an address. Any locale but "vi" gives English.
// It returns an error when the code is already dead at Now: such a mail is to be dropped, not sent.
func (r *Renderer) Verification(locale string, code Code) (Rendered, error) {
	return r.codeMail(verification, locale, code)
}

func (r *Renderer) codeMail(mail, locale string, code Code) (Rendered, error) {
	left := code.ExpiresAt.Sub(code.Now)
	if left <= 0 {
		return Rendered{}, errors.New("render: the code has expired; drop the mail")
	}
	view, err := r.words(mail, locale, codeParts, struct {
		Code    string
		Minutes int
		Until   time.Time
	}{code.Code, max(1, int(left.Round(time.Minute)/time.Minute)), code.ExpiresAt.UTC()})
	if err != nil {
		return Rendered{}, err
	}
	view["code"] = code.Code
	return r.code.fill(view)
}
