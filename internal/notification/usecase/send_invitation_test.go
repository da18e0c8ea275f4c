package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/usecase"
)

const token = "q7vR2mXc0sYt4Kd8_w-Zaa"

func sendInvitation(ctx context.Context, f *fixture, token string, expiresAt time.Time) error {
	return f.sender.SendInvitation(ctx, usecase.Invitation{
		EventID: eventID, Recipient: recipient, Token: token, Locale: "vi", ExpiresAt: expiresAt,
	})
}

// expiredInvitation is one that expires just now.
func expiredInvitation(ctx context.Context, f *fixture) error {
	return sendInvitation(ctx, f, token, f.clock.now)
}

func TestAnInvitationIsSentOnce(t *testing.T) {
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
			f.sender = usecase.NewSender(f.deps)
			f.deliver = func(ctx context.Context) error { return sendInvitation(ctx, f, test.token, expiresAt) }
			f.renderer.EXPECT().Invitation("vi", test.token, test.link, expiresAt).Return(content, nil).Times(2)
			f.conversation(says250)
			f.observer.EXPECT().MailAccepted()
			f.requireOutcome(event.Ack, "handled")
			f.requireOutcome(event.Ack, event.DropDuplicate)
			require.Equal(t, notification.StateAccepted, f.entry().State)
		})
	}
}

func TestADeadInvitationIsNotMailed(t *testing.T) {
	t.Parallel()
	f := newFixture(t) // no Renderer and no Mailer is expected
	f.deliver = func(ctx context.Context) error { return expiredInvitation(ctx, f) }
	f.observer.EXPECT().MailDropped(notification.StateExpired)
	f.requireOutcome(event.Ack, event.DropExpired)
	f.requireOutcome(event.Ack, event.DropExpired) // not counted again
	require.Equal(t, notification.StateExpired, f.entry().State)
}

func TestAnInvitationThatCannotBeWrittenIsDead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deliver = func(ctx context.Context) error { return sendInvitation(ctx, f, token, expiresAt) }
	f.renderer.EXPECT().Invitation("vi", token, "", expiresAt).Return(notification.Content{}, errors.New("no such locale"))
	f.requireOutcome(event.Dead, event.ReasonInvalid)
	require.Empty(t, f.entries)
}

func TestTheClosingMailIsSentOnceWheneverItComes(t *testing.T) {
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
	f.observer.EXPECT().MailAccepted()
	f.requireOutcome(event.Ack, "handled")
	f.requireOutcome(event.Ack, event.DropDuplicate)

	f.renderer.EXPECT().ProjectCompleted("vi", completion).Return(notification.Content{}, errors.New("no such locale"))
	f.requireOutcome(event.Dead, event.ReasonInvalid)
}
