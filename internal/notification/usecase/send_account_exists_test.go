package usecase_test

import (
	"context"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
)

func TestSendAccountExists(t *testing.T) {
	t.Parallel()
	t.Run("sends a mail once", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.deliver = func(ctx context.Context) error {
			return f.sender.SendAccountExists(ctx, eventID, event.AccountExistsMail{
				UserID: "user-1", Recipient: recipient, Locale: "vi",
			})
		}
		f.renderer.EXPECT().AccountExists("vi").Return(content, nil).Times(2)
		f.conversation(says250)
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.requireOutcome(event.Ack, "handled")
		f.requireOutcome(event.Ack, event.DropDuplicate)
		require.Equal(t, notification.StateAccepted, f.entry().State)
	})
}

func TestSendPasswordReset(t *testing.T) {
	t.Parallel()
	reset := func(f *fixture) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			return f.sender.SendPasswordReset(ctx, eventID, event.PasswordResetRequested{
				UserID: "user-1", Recipient: recipient, OTPCode: code, Locale: "vi", ExpiresAt: expiresAt,
			})
		}
	}
	t.Run("sends a mail of its own once", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.deliver = reset(f)
		f.renderer.EXPECT().PasswordReset("vi", code, f.clock.now, expiresAt).Return(content, nil).Times(2)
		f.conversation(says250)
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.requireOutcome(event.Ack, "handled")
		f.requireOutcome(event.Ack, event.DropDuplicate)
	})

	t.Run("drops an expired code", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t) // no Renderer and no Mailer is expected
		f.deliver = reset(f)
		f.clock.now = expiresAt
		f.observer.EXPECT().MailDropped(notification.StateExpired)
		f.requireOutcome(event.Ack, event.DropExpired)
	})
}

func TestSendSecurityNotice(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deliver = func(ctx context.Context) error {
		return f.sender.SendSecurityNotice(ctx, eventID, event.SecurityNotice{
			UserID: "user-1", Recipient: recipient, Locale: "vi", Kind: event.NoticePasswordReset, OccurredAt: start,
		})
	}
	f.renderer.EXPECT().SecurityNotice("vi", event.NoticePasswordReset, start).Return(content, nil).Times(2)
	f.conversation(says250)
	f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
	f.requireOutcome(event.Ack, "handled")
	f.requireOutcome(event.Ack, event.DropDuplicate)
}
