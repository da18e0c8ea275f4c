package render

import (
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/notification"
)

// verification is the mail that proves an address with a one-time code.
const verification = "verification"

// Verification returns the mail with a one-time code. It shows the lifetime twice: in minutes left at now, rounded to
// the nearest and at least 1, and as the minute of the day, in UTC, up to which the code certainly works. The subject
// never holds the code, because mail servers log subjects.
//
// It returns an error when the code has expired at now: such a mail is to be dropped, not sent.
func (r *Renderer) Verification(
	locale, code string, now, expiresAt time.Time,
) (notification.Content, error) {
	left := expiresAt.Sub(now)
	if left <= 0 {
		return notification.Content{}, errors.New("render: the code has expired; drop the mail")
	}
	return r.render(verification, locale, struct {
		Code    string
		Minutes int
		Until   time.Time
	}{
		Code:    code,
		Minutes: max(1, int(left.Round(time.Minute)/time.Minute)),
		Until:   expiresAt.UTC(),
	}, map[string]string{"code": code})
}
