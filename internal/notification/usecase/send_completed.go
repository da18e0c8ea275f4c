package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// SendProjectCompleted sends the closing mail of a project. It does not expire: it is of use whenever it comes.
func (s *Sender) SendProjectCompleted(ctx context.Context, eventID string, d event.ProjectCompletedMail) error {
	content, err := s.Renderer.ProjectCompleted(d.Locale, notification.Completion{
		ProjectID: d.ProjectID, Total: d.Total, Done: d.Done, Errors: d.Errors,
	})
	if err != nil {
		return event.Permanent(event.ReasonInvalid, err)
	}
	return s.send(ctx, eventID, notification.Mail{To: d.Recipient, Content: content})
}
