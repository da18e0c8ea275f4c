package outbox

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// states returns n events with ids that sort as they come.
func (o *office) states(prefix string, n int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = o.state(fmt.Sprintf("evt_%s_%04d", prefix, i))
	}
	return events
}

// sentNow returns the ids of what the broker gets while a relay takes one step.
func (o *office) sentNow(r *Relay, limit int) []string {
	o.Helper()
	before := len(o.broker.ids())
	_, err := r.relay(context.Background(), limit)
	require.NoError(o, err)
	return o.broker.ids()[before:]
}

func (o *office) exec(query string, args ...any) {
	o.Helper()
	_, err := o.db.Conn(context.Background()).ExecContext(context.Background(), query, args...)
	require.NoError(o, err)
}

func TestClaim(t *testing.T) {
	t.Parallel()
	t.Run("rows that the broker rejects hold no others up", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			const bad, good = 3 * rejectedPerClaim, 20
			o.publish(o.states("bad", bad)...)
			o.publish(o.states("good", good)...)
			o.broker.answer = func(m event.Message) error {
				if m.ID < "evt_good" {
					return fmt.Errorf("%w: code 403", event.ErrRejected)
				}
				return nil
			}
			r := o.relay()
			require.Len(t, o.sentNow(r, batchSize), bad+good)
			for _, m := range o.broker.sent {
				require.False(t, m.Alone, "nothing is known of any")
			}
			require.Equal(t, Depth{Rows: bad}, o.depth())
			require.Equal(t, "1", string(o.column("evt_bad_0000", "attempts")))

			o.clock.advance(time.Second)
			o.publish(o.states("good_later", good)...)
			require.Len(t, o.sentNow(r, batchSize), rejectedPerClaim+good, "a few at a time beside all others")
			for _, m := range o.broker.sent[bad+good:] {
				require.Equal(t, m.ID < "evt_good", m.Alone, m.ID)
			}
			o.broker.answer = nil // the permission is there again
			for range bad {
				o.clock.advance(maxPause)
				o.sentNow(r, batchSize)
			}
			require.Zero(t, o.depth())
		})
	})
	t.Run("a row that cannot be read waits alone", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.state("evt_1"), o.state("evt_2"), o.state("evt_3"))
			o.exec("UPDATE outbox SET headers = '{' WHERE event_id = 'evt_2'")
			require.Equal(t, []string{"evt_1", "evt_3"}, o.sentNow(o.relay(), batchSize))
			require.Equal(t, "evt_2 unreadable final=false", o.outcomes.seen[0])
			require.Equal(t, "unreadable", string(o.column("evt_2", "last_error")))
			require.Equal(t, Depth{Rows: 1}, o.depth())
		})
	})
	t.Run("a full claim takes up where the last one ended", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.states("a", 2)...) // commits late: nobody sees it yet
			o.exec("UPDATE outbox SET lease_until = $1", o.clock.Now().Add(time.Hour))
			o.clock.advance(time.Second)
			o.publish(o.states("b", 5)...)
			r := o.relay()
			require.Equal(t, []string{"evt_b_0000", "evt_b_0001"}, o.sentNow(r, 2))
			o.exec("UPDATE outbox SET lease_until = NULL")
			require.Equal(t, []string{"evt_b_0002", "evt_b_0003"}, o.sentNow(r, 2), "above the floor")
			require.Equal(t, []string{"evt_a_0000", "evt_b_0004"}, o.sentNow(r, 2), "short, so the rest comes from below")
			require.Equal(t, []string{"evt_a_0001"}, o.sentNow(r, 2))
			require.Empty(t, o.sentNow(r, 2))
			require.Zero(t, o.depth())
		})
	})
	t.Run("a late row below a long backlog waits for the next walk", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.states("late", 1)...)
			o.exec("UPDATE outbox SET lease_until = $1", o.clock.Now().Add(time.Hour))
			o.clock.advance(time.Second)
			o.publish(o.states("b", 10)...)
			r := o.relay()
			require.Equal(t, []string{"evt_b_0000", "evt_b_0001"}, o.sentNow(r, 2))
			o.exec("UPDATE outbox SET lease_until = NULL")
			o.clock.advance(walkEvery - time.Microsecond)
			require.Equal(t, []string{"evt_b_0002", "evt_b_0003"}, o.sentNow(r, 2))
			o.clock.advance(time.Microsecond)
			require.Equal(t, []string{"evt_late_0000", "evt_b_0004"}, o.sentNow(r, 2))
		})
	})
	t.Run("a clock set back hides nothing", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.states("a", 3)...)
			r := o.relay()
			require.Equal(t, []string{"evt_a_0000", "evt_a_0001"}, o.sentNow(r, 2))
			o.clock.advance(-10 * time.Minute)
			o.publish(o.states("b", 3)...)
			require.Equal(t, []string{"evt_b_0000", "evt_b_0001"}, o.sentNow(r, 2), "at once")
			require.Equal(t, []string{"evt_b_0002"}, o.sentNow(r, 2))
			o.clock.advance(10 * time.Minute)
			require.Equal(t, []string{"evt_a_0002"}, o.sentNow(r, 2))
			require.Zero(t, o.depth())
		})
	})
	t.Run("rows that an unavailable broker did not take are claimed again at once", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.states("a", 4)...)
			r := o.relay()
			o.broker.answer = func(event.Message) error { return event.ErrUnavailable }
			_, err := r.relay(context.Background(), 2)
			require.ErrorIs(t, err, event.ErrUnavailable)
			o.broker.answer = nil
			require.Equal(t, []string{"evt_a_0000", "evt_a_0001"}, o.sentNow(r, 2))
		})
	})
	t.Run("a batch's row below the floor waits for the next walk at most", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.invitations(1, "late", time.Time{}, 0)...)
			o.exec("UPDATE outbox SET lease_until = $1", o.clock.Now().Add(time.Hour))
			o.clock.advance(time.Second)
			o.publish(o.invitations(1, "b", time.Time{}, 0)...)
			r := o.relay()
			require.Equal(t, []string{"evt_b_0000"}, o.sentNow(r, batchSize))
			o.exec("UPDATE outbox SET lease_until = NULL")
			require.Empty(t, o.sentNow(r, batchSize))
			o.clock.advance(walkEvery)
			require.Equal(t, []string{"evt_late_0000"}, o.sentNow(r, batchSize))
		})
	})
}
