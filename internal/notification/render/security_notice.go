package render

import (
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/notification"
)

const (
	passwordChanged   = "password_changed"
	passwordResetDone = "password_reset_done"
	accountDisabled   = "account_disabled"
	accountDeleted    = "account_deleted"
)

// notices are the mails of the kinds of notices.
var notices = map[string]string{
	"password_changed": passwordChanged,
	"password_reset":   passwordResetDone,
	"account_disabled": accountDisabled,
	"account_deleted":  accountDeleted,
}

// SecurityNotice returns the notice that something was done to an account at a time, of which it shows the minute, in UTC.
// It returns an error for a kind it does not know.
func (r *Renderer) SecurityNotice(locale, kind string, at time.Time) (notification.Content, error) {
	mail, ok := notices[kind]
	if !ok {
		return notification.Content{}, fmt.Errorf("render: no notice says %q", kind)
	}
	return r.render(mail, locale, struct{ At time.Time }{at.UTC()}, nil)
}
