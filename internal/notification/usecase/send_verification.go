package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// SendVerification sends the mail with a one-time code, and drops it once the code has expired.
func (s *Sender) SendVerification(ctx context.Context, eventID string, d event.VerificationRequested) error {
	now := s.deps.Clock.Now()
	if !now.Before(d.ExpiresAt) {
		return s.expire(ctx, eventID)
	}
	content, err := s.deps.Renderer.Verification(d.Locale, d.OTPCode, now, d.ExpiresAt)
	r := request{
		eventID:    eventID,
		mail:       notification.Mail{To: d.Recipient},
		maxResends: notification.MaxCodeResends,
		streak:     &s.direct,
	}
	return s.sendRendered(ctx, r, content, err)
}
