package usecase_test

import (
	"context"
	"errors"
	"testing"

	"github.com/golang/mock/gomock"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

func TestSendProjectCompleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	completion := notification.Completion{ProjectID: "proj_1", Total: 12, Done: 11, Errors: 2}
	f.deliver = func(ctx context.Context) error {
		return f.sender.SendProjectCompleted(ctx, eventID, event.ProjectCompletedMail{
			Recipient: recipient, Locale: "vi", ProjectID: "proj_1", Total: 12, Done: 11, Errors: 2,
		})
	}
	f.clock.now = start.AddDate(1, 0, 0)
	f.renderer.EXPECT().ProjectCompleted("vi", completion).Return(content, nil).Times(2)
	f.conversation(says250)
	f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
	f.requireOutcome(event.Ack, "handled")
	f.requireOutcome(event.Ack, event.DropDuplicate)

	f.renderer.EXPECT().ProjectCompleted("vi", completion).Return(notification.Content{}, errors.New("no such locale"))
	f.requireOutcome(event.Dead, event.ReasonInvalid)
}
