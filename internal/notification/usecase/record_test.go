package usecase_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/usecase"
)

// recordsLike is says250 with the mailer's way of reporting a record that failed.
func recordsLike(ctx context.Context, accepted accept) error {
	if err := accepted(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("mailer: the server accepted the mail, but recording that failed: %w", err)
	}
	return nil
}

func TestRecordAccepted(t *testing.T) {
	t.Parallel()
	t.Run("tries until it succeeds", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		f.conversation(func(ctx context.Context, accepted accept) error {
			f.failures = 3
			return recordsLike(ctx, accepted)
		})
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient) // one mail, one count
		f.requireOutcome(event.Ack, "handled")
		require.Equal(t, notification.StateAccepted, f.entry().State)
	})

	t.Run("goes on during a shutdown", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.renders()
		ctx, stop := context.WithCancel(context.Background())
		f.conversation(func(ctx context.Context, accepted accept) error {
			stop()
			f.failures = 1
			return recordsLike(ctx, accepted)
		})
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		require.NoError(t, f.deliver(ctx))
		require.Equal(t, notification.StateAccepted, f.entry().State)
	})

	// The window of RFC 1047: one repeat, counted, with the same Message-ID.
	t.Run("lets a mail be repeated once when it never succeeds", func(t *testing.T) {
		t.Parallel()
		const short = 200 * time.Millisecond // recording goes on for a lease, in real time
		f := newFixture(t)
		f.deps.Lease = short
		f.sender = usecase.New(f.deps)
		f.renders()
		f.conversation(func(ctx context.Context, accepted accept) error {
			f.failures = math.MaxInt
			began := time.Now()
			err := recordsLike(ctx, accepted)
			require.Error(t, err)
			require.Less(t, time.Since(began), recordingLimit, "bounded by the lease")
			return err
		})
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		err := f.deliver(context.Background())
		require.ErrorIs(t, err, errFire)
		require.Equal(t, event.Retry, f.decide(err, false).Action, "never acked, never dead")
		require.Equal(t, event.Retry, f.decide(err, true).Action)

		f.failures = 0
		f.sender = usecase.New(f.deps) // another process, which knows nothing of it
		f.clock.now = start.Add(short - time.Microsecond)
		decision := f.requireOutcome(event.Retry, "retry")
		require.Equal(t, "0", decision.Headers[event.HeaderAttempts], "no other try begins before the lease has ended")

		f.clock.now = start.Add(short)
		f.observer.EXPECT().MailRepeated()
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		f.conversation(recordsLike) // with messageID, like every conversation
		f.requireOutcome(event.Ack, "handled")
		require.Equal(t, 1, f.entry().Resends)
		f.requireOutcome(event.Ack, event.DropDuplicate)
	})

	t.Run("remembers the mail until it can be recorded", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.deps.Lease = 200 * time.Millisecond
		f.sender = usecase.New(f.deps)
		f.renders()
		f.conversation(func(ctx context.Context, accepted accept) error {
			f.failures = math.MaxInt
			return recordsLike(ctx, accepted)
		})
		f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
		require.ErrorIs(t, f.deliver(context.Background()), errFire)

		f.failures = 0
		f.requireOutcome(event.Ack, event.DropDuplicate) // at once: no lease has to end, and nothing is sent
		require.Equal(t, notification.StateAccepted, f.entry().State)
	})
}

const recordingLimit = 5 * time.Second // far above the lease of the test, and below what it would be without it
