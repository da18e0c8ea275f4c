package usecase

import (
	"context"
	"net/url"
	"strings"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// SendInvitation sends the mail with an invitation's token, and drops it once the invitation has expired.
func (s *Sender) SendInvitation(ctx context.Context, eventID string, d event.InvitationMail) error {
	r := request{
		eventID:    eventID,
		kind:       event.InvitationRequested.Mail(),
		mail:       notification.Mail{To: d.Recipient, Bulk: true},
		maxResends: notification.MaxResends,
		streak:     &s.bulk,
	}
	if !s.deps.Clock.Now().Before(d.ExpiresAt) {
		return s.expire(ctx, r)
	}
	link := strings.ReplaceAll(s.deps.InvitationURL, "{token}", url.QueryEscape(d.Token))
	content, err := s.deps.Renderer.Invitation(d.Locale, d.Token, link, d.ExpiresAt)
	return s.sendRendered(ctx, r, content, err)
}
