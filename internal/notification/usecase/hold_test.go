package usecase_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/usecase"
)

// newRenewing is a fixture whose tries renew their lease as often as they can. renewed gets every end of a lease that was
// stored.
func newRenewing(t *testing.T, lease time.Duration) (f *fixture, renewed chan time.Time) {
	t.Helper()
	f = newFixture(t)
	f.renders()
	f.deps.Lease, f.deps.RenewEvery = lease, time.Millisecond
	f.sender = usecase.New(f.deps)
	renewed = make(chan time.Time, 1)
	f.saved = func(d notification.Delivery) {
		if d.LeaseUntil == nil {
			return
		}
		select {
		case renewed <- *d.LeaseUntil:
		default:
		}
	}
	return f, renewed
}

// pass moves the clock of a fixture whose tries renew their lease.
func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock.now = f.clock.now.Add(d)
}

// requireRenewed waits until a lease that ends then has been stored.
func requireRenewed(t *testing.T, renewed <-chan time.Time, until time.Time) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case got := <-renewed:
			if got.Equal(until) {
				return
			}
		case <-timeout:
			require.FailNow(t, "the lease is not renewed")
		}
	}
}

const patience = 10 * time.Second

// untilCut is a conversation that goes on until its context ends.
func untilCut(ctx context.Context, _ accept) error {
	select {
	case <-ctx.Done():
		return &notification.SendError{Class: notification.ClassTemporary, Where: "smtp_data", Err: context.Cause(ctx)}
	case <-time.After(patience):
		return &notification.SendError{Class: notification.ClassTemporary, Where: "never cut"}
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	// The lease is short, for the mail of a killed process; a try may take longer.
	t.Run("is renewed while the try lasts", func(t *testing.T) {
		t.Parallel()
		for name, stopping := range map[string]bool{"by default": false, "during a shutdown": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f, renewed := newRenewing(t, lease)
				ctx, stop := context.WithCancel(t.Context())
				f.conversation(func(ctx context.Context, accepted accept) error {
					if stopping {
						stop()
					}
					for range 3 {
						f.pass(lease - time.Second)
						requireRenewed(t, renewed, f.clock.now.Add(lease))
					}
					decision := f.decide(f.deliver(context.Background()), false)
					require.Equal(t, event.Retry, decision.Action, "another process waits")
					require.Equal(t, "0", decision.Headers[event.HeaderAttempts])
					return says250(ctx, accepted)
				})
				f.observer.EXPECT().MailAccepted(gomock.Any(), eventID, recipient)
				require.NoError(t, f.deliver(ctx))
				stop()
				require.Equal(t, notification.StateAccepted, f.entry().State)
				require.Equal(t, 1, f.entry().Attempts)
			})
		}
	})

	t.Run("that cannot be renewed cuts the try before it ends", func(t *testing.T) {
		t.Parallel()
		const short = time.Second
		f, _ := newRenewing(t, short)
		var began time.Time
		var last time.Duration // from the beginning to the latest end of a renewal
		f.began = func(ctx context.Context) {
			if deadline, ok := ctx.Deadline(); ok && f.failures > 0 {
				last = max(last, deadline.Sub(began))
			}
		}
		f.conversation(func(ctx context.Context, accepted accept) error {
			f.mu.Lock()
			f.failures = math.MaxInt
			began = time.Now()
			f.mu.Unlock()
			err := untilCut(ctx, accepted)
			f.mu.Lock()
			f.failures = 0
			f.mu.Unlock()
			return err
		})
		f.observer.EXPECT().MailFailed("smtp_data")
		require.ErrorContains(t, f.deliver(t.Context()), "could not be renewed")
		require.Positive(t, last)
		require.Less(t, last, short, "no renewal outlives the lease")
	})

	t.Run("that another try has claimed cuts the try", func(t *testing.T) {
		t.Parallel()
		f, _ := newRenewing(t, lease)
		var other notification.Delivery
		f.conversation(func(ctx context.Context, accepted accept) error {
			f.mu.Lock()
			other = f.entries[eventID]
			_, err := other.Claim(start.Add(2*lease), lease, notification.MaxCodeResends)
			require.NoError(t, err)
			f.entries[eventID] = other
			f.mu.Unlock()
			return untilCut(ctx, accepted)
		})
		f.observer.EXPECT().MailFailed("smtp_data")
		require.ErrorContains(t, f.deliver(t.Context()), "could not be renewed")
		require.Equal(t, other, f.entry())
	})

	t.Run("of a panic is not renewed", func(t *testing.T) {
		t.Parallel()
		f, renewed := newRenewing(t, lease)
		f.conversation(func(context.Context, accept) error {
			requireRenewed(t, renewed, start.Add(lease))
			panic("killed")
		})
		require.Panics(t, func() { _ = f.deliver(t.Context()) })
		f.saved = func(notification.Delivery) { t.Error("renewed") }
		f.clock.now = start.Add(lease)
		require.Equal(t, start.Add(lease), *f.entry().LeaseUntil)
	})
}
