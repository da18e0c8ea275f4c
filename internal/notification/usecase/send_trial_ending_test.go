package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

// reminderFixture delivers the reminder of a trial that ends three days from now.
func reminderFixture(t *testing.T) (f *fixture, trialEnd time.Time) {
	f = newFixture(t)
	trialEnd = start.AddDate(0, 0, 3)
	f.mail.Bulk = true
	f.deliver = func(ctx context.Context) error {
		return f.sender.SendTrialEnding(ctx, eventID, event.TrialEndingMail{
			UserID: "user-1", Recipient: recipient, Locale: "vi", PlanCode: "free", TrialEnd: trialEnd, DaysLeft: 3,
		})
	}
	return f, trialEnd
}

func TestSendTrialEnding(t *testing.T) {
	t.Parallel()
	t.Run("sends a mail once, that gives way to codes", func(t *testing.T) {
		t.Parallel()
		f, trialEnd := reminderFixture(t)
		f.renderer.EXPECT().TrialEnding("vi", 3, trialEnd).Return(content, nil).Times(2)
		f.conversation(says250)
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.requireOutcome(event.Ack, "handled")
		f.requireOutcome(event.Ack, event.DropDuplicate)
		require.Equal(t, notification.StateAccepted, f.entry().State)
	})

	t.Run("says the days that are left when it is sent", func(t *testing.T) {
		t.Parallel()
		for left, days := range map[time.Duration]int{
			72*time.Hour + time.Minute: 3, // the clock of the sender is behind
			72 * time.Hour:             3,
			48*time.Hour + time.Second: 3,
			48 * time.Hour:             2,
			24*time.Hour - time.Second: 1,
			time.Microsecond:           1,
			24*time.Hour + time.Second: 2,
		} {
			f, trialEnd := reminderFixture(t)
			f.clock.now = trialEnd.Add(-left)
			f.renderer.EXPECT().TrialEnding("vi", days, trialEnd).Return(content, nil)
			f.conversation(says250)
			f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
			f.requireOutcome(event.Ack, "handled")
		}
	})

	t.Run("drops the mail of a trial that has ended", func(t *testing.T) {
		t.Parallel()
		for _, late := range []time.Duration{0, time.Hour} {
			f, trialEnd := reminderFixture(t) // no Renderer and no Mailer is expected
			f.clock.now = trialEnd.Add(late)
			f.observer.EXPECT().MailDropped(notification.StateExpired)
			f.requireOutcome(event.Ack, event.DropExpired)
			f.requireOutcome(event.Ack, event.DropExpired) // not counted again
			require.Equal(t, notification.StateExpired, f.entry().State)
		}
	})

	t.Run("repeats an ambiguous mail once", func(t *testing.T) {
		t.Parallel()
		f, trialEnd := reminderFixture(t)
		f.renderer.EXPECT().TrialEnding("vi", 3, trialEnd).Return(content, nil).AnyTimes()
		f.conversation(fails(notification.ClassAmbiguous, "smtp_end_of_data")).Times(2)
		f.observer.EXPECT().MailFailed("smtp_end_of_data").Times(2)
		f.requireOutcome(event.Retry, "retry")
		f.clock.now = start.Add(30 * time.Second)
		f.observer.EXPECT().MailRepeated()
		f.requireOutcome(event.Dead, event.ReasonAmbiguous)
		require.Equal(t, notification.StateFailed, f.entry().State)
	})

	t.Run("dead-letters a mail that cannot be rendered", func(t *testing.T) {
		t.Parallel()
		f, trialEnd := reminderFixture(t)
		f.renderer.EXPECT().TrialEnding("vi", 3, trialEnd).Return(notification.Content{}, errors.New("no such locale"))
		f.requireOutcome(event.Dead, event.ReasonInvalid)
		require.Empty(t, f.entries)
	})
}
