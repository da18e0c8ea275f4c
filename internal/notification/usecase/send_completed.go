package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// SendProjectCompleted sends the closing mail of a project. It never expires.
func (s *Sender) SendProjectCompleted(ctx context.Context, eventID string, d event.ProjectCompletedMail) error {
	content, err := s.deps.Renderer.ProjectCompleted(d.Locale, notification.Completion{
		ProjectID: d.ProjectID,
		Total:     d.Total,
		Done:      d.Done,
		Errors:    d.Errors,
	})
	r := request{
		eventID:    eventID,
		kind:       event.EmailProjectCompletedRequested.Mail(),
		mail:       notification.Mail{To: d.Recipient},
		maxResends: notification.MaxResends,
		streak:     &s.direct,
	}
	return s.sendRendered(ctx, r, content, err)
}
