package render

import (
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/notification"
)

const (
	passwordChanged   = "password_changed"
	passwordResetDone = "password_reset_done"
)

// SecurityNotice returns the notice that something was done to an account at a time, of which it shows the minute, in UTC.
// It returns an error for a kind it does not know.
func (r *Renderer) SecurityNotice(locale, kind string, at time.Time) (notification.Content, error) {
	mail, ok := map[string]string{"password_changed": passwordChanged, "password_reset": passwordResetDone}[kind]
	if !ok {
		return notification.Content{}, fmt.Errorf("render: no notice says %q", kind)
	}
	return r.render(mail, locale, struct{ At time.Time }{at.UTC()}, nil)
}
