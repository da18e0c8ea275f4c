package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/mock"
	"github.com/smap-platform/identity/internal/notification/usecase"
)

// publisherFunc is an event.Publisher.
type publisherFunc func(events []event.Event) error

func (f publisherFunc) Publish(_ context.Context, events ...event.Event) error { return f(events) }

func TestOwing(t *testing.T) {
	t.Parallel()
	key := notification.NewRecipientKey([]byte("a key"))
	requested := func(id string, key event.RoutingKey, data event.Payload) event.Event {
		return event.Event{ID: id, Key: key, Time: start, Data: data}
	}
	verification := requested("evt_1", event.EmailVerificationRequested, event.VerificationRequested{Recipient: recipient})
	invitation := requested("evt_2", event.InvitationRequested, event.InvitationMail{Recipient: "Binh@Example.com"})
	invitation.NotBefore = start.Add(time.Hour)
	fact := requested("evt_3", event.UserVerified, event.UserVerifiedData{})

	for name, test := range map[string]struct {
		events []event.Event
		left   event.RoutingKey
		failed error
		want   []notification.Delivery
	}{
		"enters the mails among events": {
			events: []event.Event{verification, fact, invitation},
			want: []notification.Delivery{
				{
					EventID: "evt_1", Kind: "verification", Recipient: key.Digest(recipient), State: notification.StateOwed,
					CreatedAt: start, UpdatedAt: start,
				},
				{
					EventID: "evt_2", Kind: "invitation", Recipient: key.Digest("binh@example.com"),
					State: notification.StateOwed, DueAt: start.Add(time.Hour), CreatedAt: start, UpdatedAt: start,
				},
			},
		},
		"owes nothing that is left to the previous release": {
			events: []event.Event{verification},
			left:   event.EmailVerificationRequested,
			want: []notification.Delivery{{
				EventID: "evt_1", Kind: "verification", Recipient: key.Digest(recipient), State: notification.StateLegacy,
				CreatedAt: start, UpdatedAt: start,
			}},
		},
		"enters nothing for a fact":                     {events: []event.Event{fact}},
		"enters nothing where no event could be stored": {events: []event.Event{verification}, failed: errFire},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ledger := mock.NewMockOwedLedger(gomock.NewController(t))
			if test.want != nil {
				ledger.EXPECT().Owe(gomock.Any(), test.want)
			}
			err := usecase.NewOwing(usecase.OwingDeps{
				Next: publisherFunc(func(events []event.Event) error {
					require.Equal(t, test.events, events)
					return test.failed
				}),
				Ledger:     ledger,
				Recipients: key,
				Clock:      &fakeClock{start},
				Left:       func(key event.RoutingKey) bool { return key == test.left },
			}).Publish(context.Background(), test.events...)
			require.ErrorIs(t, err, test.failed)
		})
	}

	t.Run("knows the kind and the recipient of every event that asks for a mail", func(t *testing.T) {
		t.Parallel()
		for key, data := range map[event.RoutingKey]event.Payload{
			event.EmailVerificationRequested:     event.VerificationRequested{Recipient: recipient},
			event.EmailPasswordResetRequested:    event.PasswordResetRequested{Recipient: recipient},
			event.EmailAccountExistsRequested:    event.AccountExistsMail{Recipient: recipient},
			event.EmailSecurityNoticeRequested:   event.SecurityNotice{Recipient: recipient},
			event.EmailTrialEndingRequested:      event.TrialEndingMail{Recipient: recipient},
			event.EmailProjectCompletedRequested: event.ProjectCompletedMail{Recipient: recipient},
			event.InvitationRequested:            event.InvitationMail{Recipient: recipient},
		} {
			require.True(t, key.AsksForMail())
			mail, ok := data.(event.MailRequest)
			require.True(t, ok, key)
			require.Equal(t, recipient, mail.To(), key)
			require.NotContains(t, key.Mail(), ".")
		}
	})
}

func TestClaimOfOwed(t *testing.T) {
	t.Parallel()
	recipients := notification.RecipientKey(nil) // the fixture's
	for name, test := range map[string]struct {
		entry *notification.Delivery
		kind  string
	}{
		"makes the entry of an owed mail its own":       {new(notification.NewOwed(eventID, "x", []byte("r"), start, start)), "x"},
		"sends what was left to the previous release":   {&notification.Delivery{EventID: eventID, Kind: "x", Recipient: []byte("r"), State: notification.StateLegacy}, "x"},
		"enters a mail whose event came from elsewhere": {nil, "verification"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			want := recipients.Digest(recipient)
			if test.entry != nil {
				f.entries[eventID] = *test.entry
				want = test.entry.Recipient
			}
			f.renders()
			f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
			f.conversation(func(ctx context.Context, accepted accept) error {
				claimed := f.entry()
				require.Equal(t, notification.StateSending, claimed.State)
				require.Equal(t, 1, claimed.Attempts)
				require.Equal(t, messageID, claimed.MessageID)
				require.Equal(t, test.kind, claimed.Kind)
				require.Equal(t, want, claimed.Recipient)
				return says250(ctx, accepted)
			})
			f.requireOutcome(event.Ack, "handled")
		})
	}

	t.Run("an owed mail that is given up has failed", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.entries[eventID] = notification.NewOwed(eventID, "verification", nil, start, start)
		require.NoError(t, f.sender.GiveUp(context.Background(), eventID, event.ReasonUnreadable))
		require.Equal(t, notification.StateFailed, f.entry().State)
		require.Equal(t, "given_up_unreadable", f.entry().ErrorClass)
	})
}
