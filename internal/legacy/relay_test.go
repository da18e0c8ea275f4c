package legacy

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestSinglesGoAloneAfterTheOthersEachDeletedBeforeTheNext(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.singles("one_1", "one_2") // the oldest
		o.clock.advance(time.Second)
		o.publish(o.state("evt_1"), o.mail("evt_2"))
		o.singles("one_3")
		o.clock.advance(time.Second)
		var gone []string
		o.broker.answer = func(m event.Message) error {
			for _, id := range gone {
				require.Zero(t, o.rows(id), "%s is deleted before %s is sent", id, m.ID)
			}
			if m.Single {
				require.Equal(t, 1, o.rows(m.ID))
				gone = append(gone, m.ID)
			}
			if m.ID == "one_1" {
				require.Zero(t, o.rows("evt_1")+o.rows("evt_2"), "the others have been deleted by then")
			}
			return nil
		}
		require.Equal(t, 5, o.step(o.relay()))
		require.Equal(t, []string{"evt_1", "evt_2", "one_1", "one_2", "one_3"}, o.broker.ids())
		require.Equal(t, []int{2, 1, 1, 1}, o.broker.sizes)
		require.Zero(t, o.depth())
		require.Equal(t, "one_3 published", o.outcomes.seen[4])
	})
}

func TestNoSingleIsSentWhileTheDeletionOfTheLastFails(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.singles("one_1", "one_2", "one_3")
		o.broker.answer = func(m event.Message) error {
			if m.ID == "one_2" {
				o.rename("outbox", "gone")
			}
			return nil
		}
		r := o.relay()
		for range 2 {
			_, err := r.relay(context.Background(), batchSize)
			require.Error(t, err)
			require.Equal(t, []string{"one_1", "one_2"}, o.broker.ids())
		}
		o.rename("gone", "outbox")
		o.clock.advance(lease)
		require.Equal(t, 1, o.step(r))
		require.Equal(t, []string{"one_1", "one_2", "one_3"}, o.broker.ids(), "each once")
		require.Zero(t, o.depth())
	})
}

func TestNoSingleIsSentWhileTheDeletionOfTheOthersFails(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.publish(o.state("evt_1"))
		o.singles("one_1")
		o.broker.answer = func(event.Message) error { o.rename("outbox", "gone"); return nil }
		r := o.relay()
		_, err := r.relay(context.Background(), batchSize)
		require.Error(t, err)
		require.Equal(t, []string{"evt_1"}, o.broker.ids())
		o.rename("gone", "outbox")
		o.broker.answer = nil
		o.clock.advance(lease)
		require.Equal(t, 1, o.step(r))
		require.Equal(t, []string{"evt_1", "one_1"}, o.broker.ids())
		require.Zero(t, o.depth())
	})
}

func TestAKillBetweenConfirmAndDeletionRepeatsOneSingle(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.singles("one_1", "one_2", "one_3", "one_4")
		o.broker.answer = func(m event.Message) error {
			if m.ID == "one_2" {
				o.rename("outbox", "gone") // whatever this relay does from here on comes to nothing: it is dead
			}
			return nil
		}
		_, err := o.relay().relay(context.Background(), batchSize)
		require.Error(t, err)
		o.rename("gone", "outbox")
		o.broker.answer = nil

		next := o.relay()
		o.clock.advance(lease - time.Microsecond)
		require.Zero(t, o.step(next), "the dead relay's lease still holds")
		o.clock.advance(time.Microsecond)
		require.Equal(t, 3, o.step(next))
		require.Equal(t, []string{"one_1", "one_2", "one_2", "one_3", "one_4"}, o.broker.ids())
		require.Zero(t, o.depth())
	})
}

func TestAnAbsentBrokerGetsNoFurtherSingle(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.singles("one_1", "one_2", "one_3")
		o.broker.answer = func(m event.Message) error {
			if m.ID == "one_2" {
				return fmt.Errorf("%w: connection reset", event.ErrUnavailable)
			}
			return nil
		}
		r := o.relay()
		_, err := r.relay(context.Background(), batchSize)
		require.ErrorIs(t, err, event.ErrUnavailable)
		require.Equal(t, []string{"one_1", "one_2"}, o.broker.ids())
		require.Equal(t, []string{"one_1 published", "one_2 unavailable final=false"}, o.outcomes.seen)
		require.Equal(t, "0", string(o.column("one_2", "attempts")))
		o.broker.answer = nil
		require.Equal(t, 2, o.step(o.relay()), "both come free at once, for any relay")
		require.Equal(t, []string{"one_1", "one_2", "one_2", "one_3"}, o.broker.ids())
	})
}

func TestSinglesAreGivenBackWhenTheBrokerIsAwayForTheOthers(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.publish(o.state("evt_1"))
		o.singles("one_1")
		o.broker.answer = func(event.Message) error { return event.ErrUnavailable }
		_, err := o.relay().relay(context.Background(), batchSize)
		require.ErrorIs(t, err, event.ErrUnavailable)
		require.Equal(t, []string{"evt_1"}, o.broker.ids())
		o.broker.answer = nil
		require.Equal(t, 2, o.step(o.relay()))
		require.Equal(t, []string{"evt_1", "evt_1", "one_1"}, o.broker.ids())
	})
}

func TestASingleAtFaultWaitsAlone(t *testing.T) {
	t.Parallel()
	for class, failure := range map[string]error{
		"unroutable": event.ErrUnroutable, "refused": event.ErrRefused, "other": errors.New("odd"),
	} {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			schematest.Each(t, func(t *testing.T, db *database.DB) {
				o := open(t, db)
				o.singles("one_1", "one_2")
				o.broker.answer = func(m event.Message) error {
					if m.ID == "one_1" {
						return failure
					}
					return nil
				}
				r := o.relay()
				require.Equal(t, 2, o.step(r))
				require.Equal(t, []string{"one_1 " + class + " final=false", "one_2 published"}, o.outcomes.seen)
				require.Equal(t, class, string(o.column("one_1", "last_error")))
				require.Zero(t, o.step(r), "it waits")
				o.broker.answer = nil
				o.clock.advance(time.Second)
				require.Equal(t, 1, o.step(r))
				require.Zero(t, o.depth())
			})
		})
	}
}

func TestNoSingleIsBegunThatMightOutliveItsLease(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.singles("one_1", "one_2", "one_3")
		left := map[string]time.Duration{"one_1": singleNeeds, "one_2": singleNeeds - time.Microsecond}
		claimed := o.clock.Now()
		o.broker.answer = func(m event.Message) error { // slow
			o.clock.advance(lease - left[m.ID] - o.clock.Now().Sub(claimed))
			return nil
		}
		r := o.relay()
		require.Equal(t, 3, o.step(r))
		require.Equal(t, []string{"one_1", "one_2"}, o.broker.ids())
		require.Len(t, r.nudge, 1, "the relay knows that there is more")
		o.broker.answer = nil
		require.Equal(t, 1, o.step(o.relay()), "the last has been given back")
		require.Equal(t, []string{"one_1", "one_2", "one_3"}, o.broker.ids())
	})
}

func TestARelayThatWasStoppedLeavesTheLeasesOfOthersAlone(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.singles("one_1", "one_2")
		other := []row{}
		o.broker.answer = func(event.Message) error {
			o.clock.advance(lease) // the process was frozen, and somebody has taken over
			var err error
			other, err = claim(context.Background(), db, o.clock.Now(), batchSize, batchSize)
			require.NoError(t, err)
			return nil
		}
		require.Equal(t, 2, o.step(o.relay()))
		require.Equal(t, []string{"one_1"}, o.broker.ids())
		require.Len(t, other, 2)
		o.broker.answer = nil
		require.Zero(t, o.step(o.relay()), "the row is still his")
	})
}

func TestAStopGivesBackTheSinglesThatWereNotBegun(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		sending, confirm := make(chan string, 10), make(chan struct{}, 10)
		o.broker.answer = func(m event.Message) error { sending <- m.ID; <-confirm; return nil }
		o.singles("one_1", "one_2", "one_3")
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- o.relay().Run(ctx) }()
		require.Equal(t, "one_1", eventtest.Next(t, sending))
		confirm <- struct{}{}
		require.Equal(t, "one_2", eventtest.Next(t, sending))
		stop()
		confirm <- struct{}{}
		require.NoError(t, eventtest.Next(t, ended))
		require.Equal(t, []string{"one_1", "one_2"}, o.broker.ids(), "the one in flight was finished")
		o.broker.answer = nil
		require.Equal(t, 1, o.step(o.relay()), "the last is due at once")
		require.Zero(t, o.depth())
	})
}

func TestRelaysShareTheSingles(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		var want []string
		for i := range 60 {
			want = append(want, fmt.Sprintf("one_%02d", i))
		}
		o.singles(want...)
		first, second := o.relay(), o.relay()
		busy := make(chan struct{}, 2)
		for _, r := range []*Relay{first, second} {
			go func() {
				defer func() { busy <- struct{}{} }()
				for {
					n, err := r.relay(context.Background(), 16)
					if err != nil || n == 0 {
						return // an error shows in what has been sent
					}
				}
			}()
		}
		eventtest.Next(t, busy)
		eventtest.Next(t, busy)
		require.ElementsMatch(t, want, o.broker.ids(), "each once")
		require.Len(t, o.broker.sizes, len(want), "never two in one Send")
		require.Zero(t, o.depth())
	})
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		waiting := func() int {
			n, err := Waiting(context.Background(), db, fanoutExchange)
			require.NoError(t, err)
			return n
		}
		require.Zero(t, waiting())
		o.publish(o.state("evt_1"))
		o.singles("one_1", "one_2")
		require.Equal(t, 2, waiting())
		require.NoError(t, postpone(context.Background(), db, string(o.column("one_1", "id")), "odd", o.clock.Now(), new(o.clock.Now())))
		require.Equal(t, Depth{Rows: 2, Failed: 1}, o.depth())
		require.Equal(t, 2, waiting(), "one that was given up can still be retried")
		o.step(o.relay())
		require.Equal(t, 1, waiting())
		o.rename("outbox", "gone")
		_, err := Waiting(context.Background(), db, fanoutExchange)
		require.ErrorContains(t, err, fanoutExchange)
	})
}
