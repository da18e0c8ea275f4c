package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/notification"
)

// SendMail sends a mail that was written elsewhere, unchanged, and drops it once it has expired. A zero expiresAt is
// unknown: the mail never expires.
func (s *Sender) SendMail(ctx context.Context, eventID string, m notification.Mail, expiresAt time.Time) error {
	r := request{
		eventID:    eventID,
		kind:       notification.KindWritten,
		mail:       m,
		maxResends: notification.MaxResends,
		streak:     &s.written,
	}
	if !expiresAt.IsZero() { // only codes expire
		if !s.deps.Clock.Now().Before(expiresAt) {
			return s.expire(ctx, r)
		}
		r.maxResends = notification.MaxCodeResends
	}
	return s.send(ctx, r)
}
