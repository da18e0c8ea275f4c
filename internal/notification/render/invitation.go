package render

import (
	"time"

	"github.com/smap-platform/identity/internal/notification"
)

// invitation is the mail whose reader becomes a user.
const invitation = "invitation"

// Invitation returns the mail with an invitation. link is the page, http or https, where the token is accepted; without
// one the mail shows the token itself. expiresAt is shown as the minute, in UTC, up to which the invitation certainly
// works.
func (r *Renderer) Invitation(locale, token, link string, expiresAt time.Time) (notification.Content, error) {
	return r.render(invitation, locale, struct {
		Link  string
		Until time.Time
	}{link, expiresAt.UTC()}, map[string]string{"token": token, "link": link})
}
