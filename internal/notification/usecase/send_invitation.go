package usecase

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// Invitation is a mail with a token that makes its reader a user.
type Invitation struct {
	EventID   string
	Recipient string
	Token     string
	Locale    string
	ExpiresAt time.Time
}

// SendInvitation sends the mail of an invitation that is alive, and drops one that has died.
func (s *Sender) SendInvitation(ctx context.Context, i Invitation) error {
	if !s.Clock.Now().Before(i.ExpiresAt) {
		return s.expire(ctx, i.EventID)
	}
	content, err := s.Renderer.Invitation(i.Locale, i.Token, s.invitationLink(i.Token), i.ExpiresAt)
	if err != nil {
		return event.Permanent(event.ReasonInvalid, err)
	}
	return s.send(ctx, i.EventID, notification.Mail{To: i.Recipient, Content: content})
}

// invitationLink answers where token is accepted; "" when there is no page for that.
func (s *Sender) invitationLink(token string) string {
	return strings.ReplaceAll(s.InvitationURL, "{token}", url.QueryEscape(token))
}
