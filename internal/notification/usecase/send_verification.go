package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// SendVerification sends the mail with a one-time code that proves an address, and drops it once the code has expired.
func (s *Sender) SendVerification(ctx context.Context, eventID string, d event.VerificationRequested) error {
	return s.sendCode(ctx, eventID, event.EmailVerificationRequested, d, s.deps.Renderer.Verification)
}

// SendPasswordReset is SendVerification for a code that sets a new password.
func (s *Sender) SendPasswordReset(ctx context.Context, eventID string, d event.PasswordResetRequested) error {
	return s.sendCode(ctx, eventID, event.EmailPasswordResetRequested, event.VerificationRequested(d),
		s.deps.Renderer.PasswordReset)
}

func (s *Sender) sendCode(
	ctx context.Context, eventID string, key event.RoutingKey, d event.VerificationRequested,
	render func(locale, code string, now, expiresAt time.Time) (notification.Content, error),
) error {
	r := request{
		eventID:    eventID,
		kind:       key.Mail(),
		mail:       notification.Mail{To: d.Recipient},
		maxResends: notification.MaxCodeResends,
		streak:     &s.direct,
	}
	now := s.deps.Clock.Now()
	if !now.Before(d.ExpiresAt) {
		return s.expire(ctx, r)
	}
	content, err := render(d.Locale, d.OTPCode, now, d.ExpiresAt)
	return s.sendRendered(ctx, r, content, err)
}
