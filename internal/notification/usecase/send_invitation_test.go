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
	"github.com/smap-platform/identity/internal/notification/usecase"
)

const token = "q7vR2mXc0sYt4Kd8_w-Zaa"

func sendInvitation(ctx context.Context, f *fixture, token string, expiresAt time.Time) error {
	return f.sender.SendInvitation(ctx, eventID, event.InvitationMail{
		UserID:    "user-1",
		Recipient: recipient,
		Token:     token,
		Locale:    "vi",
		ExpiresAt: expiresAt,
	})
}

// expiredInvitation sends an invitation that expires now.
func expiredInvitation(ctx context.Context, f *fixture) error {
	return sendInvitation(ctx, f, token, f.clock.now)
}

func TestSendInvitation(t *testing.T) {
	t.Parallel()
	t.Run("sends a mail once", func(t *testing.T) {
		t.Parallel()
		for name, test := range map[string]struct{ url, token, link string }{
			"with its page":     {"https://smap.example/accept#token={token}", token, "https://smap.example/accept#token=" + token},
			"without one":       {"", token, ""},
			"with an odd token": {"https://smap.example/accept?t={token}&x=1", "a&b=c/%", "https://smap.example/accept?t=a%26b%3Dc%2F%25&x=1"},
			"in a path":         {"https://smap.example/i/{token}", token, "https://smap.example/i/" + token},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.deps.InvitationURL = test.url
				f.sender = usecase.New(f.deps)
				f.deliver = func(ctx context.Context) error { return sendInvitation(ctx, f, test.token, expiresAt) }
				f.renderer.EXPECT().Invitation("vi", test.token, test.link, expiresAt).Return(content, nil).Times(2)
				f.mail.Bulk = true
				f.conversation(says250)
				f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
				f.requireOutcome(event.Ack, "handled")
				f.requireOutcome(event.Ack, event.DropDuplicate)
				require.Equal(t, notification.StateAccepted, f.entry().State)
			})
		}
	})

	// Once more, and then a person decides.
	t.Run("repeats an ambiguous mail once", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.deliver = func(ctx context.Context) error { return sendInvitation(ctx, f, token, expiresAt) }
		f.renderer.EXPECT().Invitation("vi", token, "", expiresAt).Return(content, nil).AnyTimes()
		f.mail.Bulk = true
		f.conversation(fails(notification.ClassAmbiguous, "smtp_end_of_data")).Times(2)
		f.observer.EXPECT().MailFailed("smtp_end_of_data").Times(2)
		decision := f.requireOutcome(event.Retry, "retry")
		require.Equal(t, 30*time.Second, policy.Levels[decision.Level])
		f.clock.now = start.Add(30 * time.Second)
		f.observer.EXPECT().MailRepeated()
		f.requireOutcome(event.Dead, event.ReasonAmbiguous)
		require.Equal(t, notification.StateFailed, f.entry().State)
	})

	t.Run("drops an expired invitation", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t) // no Renderer and no Mailer is expected
		f.deliver = func(ctx context.Context) error { return expiredInvitation(ctx, f) }
		f.observer.EXPECT().MailDropped(notification.StateExpired)
		f.requireOutcome(event.Ack, event.DropExpired)
		f.requireOutcome(event.Ack, event.DropExpired) // not counted again
		require.Equal(t, notification.StateExpired, f.entry().State)
	})

	t.Run("dead-letters a mail that cannot be rendered", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.deliver = func(ctx context.Context) error { return sendInvitation(ctx, f, token, expiresAt) }
		f.renderer.EXPECT().Invitation("vi", token, "", expiresAt).Return(notification.Content{}, errors.New("no such locale"))
		f.requireOutcome(event.Dead, event.ReasonInvalid)
		require.Empty(t, f.entries)
	})
}
