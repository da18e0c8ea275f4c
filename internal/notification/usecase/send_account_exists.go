package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// SendAccountExists sends the notice that an address which has an account was registered.
func (s *Sender) SendAccountExists(ctx context.Context, eventID string, d event.AccountExistsMail) error {
	content, err := s.deps.Renderer.AccountExists(d.Locale)
	r := request{
		eventID:    eventID,
		kind:       event.EmailAccountExistsRequested.Mail(),
		mail:       notification.Mail{To: d.Recipient},
		maxResends: notification.MaxResends,
		streak:     &s.direct,
	}
	return s.sendRendered(ctx, r, content, err)
}
