package render

import (
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/notification"
)

const (
	// verification is the mail that proves an address with a one-time code.
	verification = "verification"
	// passwordReset is the mail with a one-time code that sets a new password.
	passwordReset = "password_reset"
)

// Verification returns the mail with a one-time code that proves an address. It shows the lifetime twice: in minutes left at now, rounded to
// the nearest and at least 1, and as the minute of the day, in UTC, up to which the code certainly works. The subject
// never holds the code, because mail servers log subjects.
//
// It returns an error when the code has expired at now: such a mail is to be dropped, not sent.
func (r *Renderer) Verification(
	locale, code string, now, expiresAt time.Time,
) (notification.Content, error) {
	return r.code(verification, locale, code, now, expiresAt)
}

// PasswordReset is Verification for a code that sets a new password.
func (r *Renderer) PasswordReset(
	locale, code string, now, expiresAt time.Time,
) (notification.Content, error) {
	return r.code(passwordReset, locale, code, now, expiresAt)
}

func (r *Renderer) code(mail, locale, code string, now, expiresAt time.Time) (notification.Content, error) {
	left := expiresAt.Sub(now)
	if left <= 0 {
		return notification.Content{}, errors.New("render: the code has expired; drop the mail")
	}
	return r.render(mail, locale, struct {
		Code    string
		Minutes int
		Until   time.Time
	}{
		Code:    code,
		Minutes: max(1, int(left.Round(time.Minute)/time.Minute)),
		Until:   expiresAt.UTC(),
	}, map[string]string{"code": code})
}
