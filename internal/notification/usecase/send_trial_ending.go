package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// SendTrialEnding sends the reminder that a trial is about to end, and drops it once the trial has ended. The mail says
// how many days are left when it is sent, which are fewer than when it was requested if its lane has been paused.
//
// Reminders come by the thousand: they share the lane of invitations.
func (s *Sender) SendTrialEnding(ctx context.Context, eventID string, d event.TrialEndingMail) error {
	r := request{
		eventID:    eventID,
		kind:       event.EmailTrialEndingRequested.Mail(),
		mail:       notification.Mail{To: d.Recipient, Bulk: true},
		maxResends: notification.MaxResends,
		streak:     &s.bulk,
	}
	left := d.TrialEnd.Sub(s.deps.Clock.Now())
	if left <= 0 {
		return s.expire(ctx, r)
	}
	const day = 24 * time.Hour
	days := min(d.DaysLeft, int((left+day-1)/day))
	content, err := s.deps.Renderer.TrialEnding(d.Locale, days, d.TrialEnd)
	return s.sendRendered(ctx, r, content, err)
}
