package usecase_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

func TestCancelOnDatabase(t *testing.T) {
	t.Parallel()

	t.Run("withdraws what has not left", onDatabase(func(f flow) {
		batch, other := f.invite(people(1200)...), f.invite("other@example.com")
		left := f.leave(batch, 3)
		inHand := f.sent(batch)[3]
		f.exec("UPDATE outbox SET lease_until = $2 WHERE event_id = $1", inHand.ID, now.Add(time.Minute))
		require.Equal(f, int64(1196), f.cancel(batch))
		require.Equal(f, int64(1196), f.cancel(batch), "a second time changes nothing")
		require.Equal(f, 1, f.rows("outbox WHERE batch_id = $1", batch), "what a relay has in hand")
		require.Equal(f, 1, f.rows("outbox WHERE batch_id = $1", other))
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{1196, 1196}, []int{done, failed})

		dead := f.sent(batch)[1199]
		_, err := f.Accept(context.Background(), token(dead), "correct horse", client)
		require.ErrorIs(f, err, invitation.ErrInvalid)
		for _, e := range append(slices.Clone(left), inHand) {
			_, err = f.Accept(context.Background(), token(e), "correct horse", client)
			require.NoError(f, err, "what has left is not taken back")
		}
		f.clock.now = now.Add(time.Hour)
		again := f.invite(dead.Data.(event.InvitationMail).Recipient)
		_, err = f.Accept(context.Background(), token(f.sent(again)[0]), "correct horse", client)
		require.NoError(f, err, "the address was free again")

		for _, unknown := range []string{invitation.NewBatchID(), "x", "", "proj_\x00"} {
			_, err = f.Cancel(context.Background(), f.actor, unknown)
			require.ErrorIs(f, err, invitation.ErrBatchNotFound)
		}
	}))

	t.Run("also withdraws what came back", onDatabase(func(f flow) {
		batch := f.invite(people(2)...)
		f.exec("UPDATE outbox SET lease_until = $2 WHERE event_id = $1", f.sent(batch)[0].ID, now.Add(time.Minute))
		require.Equal(f, int64(1), f.cancel(batch))
		f.clock.now = now.Add(2 * time.Minute)
		require.Equal(f, int64(2), f.cancel(batch))
	}))

	// The broker had it and the relay does not know: its row is due again when the invitation in it is accepted.
	t.Run("spares accepted invitations", onDatabase(func(f flow) {
		batch := f.invite(people(2)...)
		_, err := f.Accept(context.Background(), token(f.sent(batch)[0]), "correct horse", client)
		require.NoError(f, err)
		require.Equal(f, int64(1), f.cancel(batch))
		require.Zero(f, f.rows("outbox WHERE routing_key = 'invitation.requested'"))
		done, failed := f.progress.counts(batch)
		require.Equal(f, []int{1, 1}, []int{done, failed}, "what has arrived has not failed")
	}))

	// Those who have registered meanwhile lose the invitation and nothing else: who proves the address gets an account.
	t.Run("costs those who have registered nothing", onDatabase(func(f flow) {
		batch := f.invite("an@example.com", "binh@example.com")
		client := authentication.Client{Browsers: []string{authentication.NewBrowser()}}
		_, err := f.people.Register(context.Background(),
			authentication.Credentials{Email: "an@example.com", Password: "correct horse"}, client)
		require.NoError(f, err)
		require.Equal(f, int64(2), f.cancel(batch))
		for _, email := range []string{"an@example.com", "binh@example.com"} {
			_, err = f.users.ByEmail(context.Background(), email)
			require.ErrorIs(f, err, authentication.ErrUserNotFound)
		}
		var code string
		for _, e := range f.events.Events() {
			if mail, ok := e.Data.(event.VerificationRequested); ok {
				code = mail.OTPCode
			}
		}
		_, err = f.people.Verify(context.Background(), "an@example.com", code, client)
		require.NoError(f, err)
		registered, err := f.users.ByEmail(context.Background(), "an@example.com")
		require.NoError(f, err)
		require.True(f, registered.Active)
	}))

	t.Run("gives the time back", onDatabase(func(f flow) {
		f.invite("first@example.com")
		batch := f.invite(people(1000)...)
		f.cancel(batch)
		next := f.sent(f.invite("next@example.com"))[0]
		require.Equal(f, now.Add(gap), next.NotBefore, "behind the first, as if the others had never been")

		middle := f.invite(people(100)...)
		last := f.sent(f.invite("last@example.com"))[0]
		f.cancel(middle)
		require.Equal(f, last.NotBefore.Add(gap), f.sent(f.invite("behind@example.com"))[0].NotBefore,
			"what is scheduled behind a batch stays where it is")
	}))

	t.Run("and Accept exclude each other", onDatabase(func(f flow) {
		batch := f.invite(people(60)...)
		accepted := make(chan int, 1)
		go func() {
			n := 0
			for _, e := range f.sent(batch) {
				if _, err := f.Accept(context.Background(), token(e), "correct horse", client); err == nil {
					n++
				} else if !errors.Is(err, invitation.ErrInvalid) {
					n = -1000
				}
			}
			accepted <- n
		}()
		cancelled, err := f.Cancel(context.Background(), f.actor, batch)
		require.NoError(f, err)
		n := <-accepted
		require.Equal(f, 60, int(cancelled)+n, "each is one or the other")
		require.Equal(f, n, f.trials.started)
		require.Equal(f, n+1, f.rows("users WHERE deleted_at IS NULL"), "with the administrator")
		require.Zero(f, f.rows("invitations WHERE accepted_at IS NOT NULL AND cancelled_at IS NOT NULL"))
	}))

	// An upload that holds the pace's lock waits for the accounts that are being deleted.
	t.Run("does not deadlock with an upload of the same addresses", onDatabase(func(f flow) {
		if f.db.Dialect() == database.SQLite { // one transaction at a time
			return
		}
		addresses := people(2_000)
		batch := f.invite(addresses...)
		begun, outcome := make(chan struct{}), make(chan error, 1)
		uploader := f
		deps := f.deps
		deps.Progress = begins{f.progress, begun}
		uploader.UseCase = usecase.New(deps)
		deps = f.deps
		deps.Accounts = &onDelete{AccountCreator: f.deps.Accounts, then: func() {
			go func() {
				_, _, err := uploader.try("", addresses...)
				outcome <- err
			}()
			<-begun
		}}
		_, err := usecase.New(deps).Cancel(context.Background(), f.actor, batch)
		require.NoError(f, err)
		require.NoError(f, <-outcome)
	}))
}

// onDelete calls then behind the first deletion.
type onDelete struct {
	invitation.AccountCreator
	then func()
}

func (a *onDelete) DeleteInvited(ctx context.Context, userIDs []string, now time.Time) (int64, error) {
	n, err := a.AccountCreator.DeleteInvited(ctx, userIDs, now)
	if a.then != nil {
		a.then()
		a.then = nil
	}
	return n, err
}

// begins closes a channel right before the transaction of an upload.
type begins struct {
	invitation.Progress
	begun chan struct{}
}

func (b begins) Begin(ctx context.Context, projectID, owner string) error {
	close(b.begun)
	return b.Progress.Begin(ctx, projectID, owner)
}
