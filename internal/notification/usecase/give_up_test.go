package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/smtptest"
)

func TestGiveUp(t *testing.T) {
	t.Parallel()
	t.Run("fails the mail for its reason", func(t *testing.T) {
		t.Parallel()
		for _, reason := range []string{event.ReasonExhausted, event.ReasonCrashLoop, event.ReasonInvalid} {
			t.Run(reason, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.renders()
				f.conversation(fails(notification.ClassTemporary, "smtp_connect"))
				f.observer.EXPECT().MailFailed("smtp_connect")
				f.requireOutcome(event.Retry, "retry")

				require.NoError(t, f.sender.GiveUp(context.Background(), eventID, reason))
				require.Equal(t, notification.StateFailed, f.entry().State)
				for range 2 { // delivered again, because it could not be moved to the dead letters
					f.requireOutcome(event.Dead, reason)
					require.NoError(t, f.sender.GiveUp(context.Background(), eventID, event.ReasonRejected))
				}
			})
		}
	})

	// The handler of such an event never reached the ledger.
	t.Run("fails a mail that no try has claimed", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		require.NoError(t, f.sender.GiveUp(context.Background(), eventID, event.ReasonInvalid))
		require.Equal(t, notification.StateFailed, f.entry().State)
		require.Zero(t, f.entry().Attempts)
	})

	t.Run("waits for a try that is under way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.conversation(func(ctx context.Context, accepted accept) error {
			f.clock.now = start.Add(20 * time.Second)
			before := f.entry()
			err := f.sender.GiveUp(ctx, eventID, event.ReasonExhausted)
			var busy *notification.BusyError
			require.ErrorAs(t, err, &busy)
			require.Equal(t, 40*time.Second, busy.Wait)
			decision := f.decide(err, false)
			require.Equal(t, event.Retry, decision.Action)
			require.Equal(t, "0", decision.Headers[event.HeaderAttempts], "it does not count as a try")
			require.Equal(t, before, f.entry())
			return says250(ctx, accepted)
		})
		f.requireOutcome(event.Ack, "handled")
		require.NoError(t, f.sender.GiveUp(context.Background(), eventID, event.ReasonExhausted))
		require.Equal(t, notification.StateAccepted, f.entry().State, "what has ended stays as it is")
	})

	t.Run("returns an error when it cannot be recorded", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.failures = 1
		require.ErrorIs(t, f.sender.GiveUp(context.Background(), eventID, event.ReasonExhausted), errFire)
		require.Empty(t, f.entries)
	})

	t.Run("lets a replay send the mail", func(t *testing.T) {
		t.Parallel()
		eachWhole(t, func(w whole) {
			w.server.Script(smtptest.At(smtptest.Rcpt).Reply(450).Times(1))
			require.Equal(w, event.Retry, w.deliver().Action)
			require.NoError(w, w.sender.GiveUp(context.Background(), eventID, event.ReasonExhausted))
			w.requireState(notification.StateFailed)
			require.Equal(w, event.ReasonExhausted, w.deliver().Outcome)
			w.requireMails(0)

			require.NoError(w, sqldb.NewLedger(w.db).Reopen(context.Background(), eventID, w.clock.Now()))
			require.Equal(w, "handled", w.deliver().Outcome)
			w.requireMails(1)
			w.requireState(notification.StateAccepted)
			require.Equal(w, &counts{accepted: 1, failed: 1}, w.counts, "and it is no repeat")
		})
	})
}
