package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// SendSecurityNotice sends the notice that something was done to an account.
func (s *Sender) SendSecurityNotice(ctx context.Context, eventID string, d event.SecurityNotice) error {
	content, err := s.deps.Renderer.SecurityNotice(d.Locale, d.Kind, d.OccurredAt)
	r := request{
		eventID:    eventID,
		kind:       event.EmailSecurityNoticeRequested.Mail(),
		mail:       notification.Mail{To: d.Recipient},
		maxResends: notification.MaxResends,
		streak:     &s.direct,
	}
	return s.sendRendered(ctx, r, content, err)
}
