package outbox

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// paced is a relay that lets perSecond rows of batches go.
func (o *office) paced(perSecond float64) *Relay {
	r := o.relay()
	r.pace = pace{perSecond: perSecond}
	return r
}

func TestPace(t *testing.T) {
	t.Parallel()
	t.Run("allowance", func(t *testing.T) {
		t.Parallel()
		start := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
		type look struct {
			at      time.Duration
			allowed int
			spent   int
		}
		for name, test := range map[string]struct {
			perSecond float64
			looks     []look
		}{
			"two seconds' worth at first, and never more": {20, []look{{0, 40, 0}, {time.Hour, 40, 0}}},
			"what was spent grows back at the rate": {20, []look{
				{0, 40, 40}, {0, 0, 0}, {50 * time.Millisecond, 1, 1}, {60 * time.Millisecond, 0, 0}, {time.Second, 19, 19}, {time.Minute, 40, 0},
			}},
			"a row every half second":            {2, []look{{0, 4, 4}, {400 * time.Millisecond, 0, 0}, {500 * time.Millisecond, 1, 1}}},
			"less than one a second":             {0.25, []look{{0, 1, 1}, {3999 * time.Millisecond, 0, 0}, {4 * time.Second, 1, 1}, {time.Hour, 1, 0}}},
			"a clock that is set back adds none": {20, []look{{time.Minute, 40, 40}, {0, 0, 0}, {500 * time.Millisecond, 10, 0}}},
		} {
			p := pace{perSecond: test.perSecond}
			for _, look := range test.looks {
				require.Equal(t, look.allowed, p.allowance(start.Add(look.at)), "%s, at %s", name, look.at)
				for range look.spent {
					p.spend()
				}
			}
		}
	})
	t.Run("after an outage a batch leaves at its rate", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			const perSecond = 20
			o.publish(o.invitations(300, "batch", o.clock.Now(), time.Second/perSecond)...)
			r := o.paced(perSecond)
			o.broker.answer = func(event.Message) error { return event.ErrUnavailable }
			_, err := r.relay(context.Background(), 1)
			require.ErrorIs(t, err, event.ErrUnavailable)
			o.clock.advance(time.Hour)
			o.broker.answer = nil

			require.Equal(t, burst*perSecond, float64(o.step(r)), "what may go at once")
			require.Zero(t, o.step(r))
			for second := range 5 {
				o.publish(o.state("evt_alone"))
				require.Equal(t, 1, o.step(r), "those that stand for themselves do not wait")
				sent := 0
				for range 10 {
					o.clock.advance(time.Second / 10)
					sent += o.step(r)
				}
				require.InDelta(t, perSecond, sent, 1, "second %d", second)
			}
			require.InDelta(t, 300-(2+5)*perSecond, o.depth().Rows, 1)
		})
	})
	// A relay has nothing to do until the next row of a batch comes due, and must not sleep past it.
	t.Run("a rest ends when the next of a batch comes due", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			ctx := context.Background()
			r := o.paced(20)
			require.Equal(t, Poll, r.rest(ctx), "nothing is to come")
			o.clock.advance(Poll)
			o.publish(o.invitations(3, "batch", o.clock.Now().Add(300*time.Millisecond), 50*time.Millisecond)...)
			o.publish(o.invitation("evt_late", "batch", o.clock.Now().Add(time.Hour)))
			require.Equal(t, 300*time.Millisecond, r.rest(ctx))
			o.clock.advance(100 * time.Millisecond)
			require.Equal(t, 200*time.Millisecond, r.rest(ctx), "it remembers")
			for range 2 {
				o.clock.advance(r.rest(ctx))
				require.Equal(t, 1, o.step(r), "it wakes in time")
				require.Equal(t, 50*time.Millisecond, r.rest(ctx), "and looks for the next")
			}
			o.clock.advance(50 * time.Millisecond)
			require.Equal(t, 1, o.step(r))
			require.Equal(t, Poll, r.rest(ctx), "what is far away is looked for again by then")

			o.publish(o.invitations(2, "new", o.clock.Now(), 70*time.Millisecond)...)
			require.Equal(t, 1, o.step(r))
			require.Equal(t, 70*time.Millisecond, r.rest(ctx), "the first of a batch is a reason to look for its next")
			o.clock.advance(70 * time.Millisecond)
			require.Equal(t, 1, o.step(r))
			require.Equal(t, Poll, r.rest(ctx))

			o.publish(o.invitation("evt_soon", "batch", o.clock.Now().Add(400*time.Millisecond)))
			o.clock.advance(Poll)
			require.Equal(t, 1, o.step(r), "a batch that came meanwhile is found within a second")
			o.rename("outbox", "gone")
			o.clock.advance(Poll)
			require.Equal(t, Poll, r.rest(ctx), "a database that is away is the next claim's business")
		})
	})
	// Ten rows, each of which comes due 10 ms after the one before has left: a relay that polled would need ten seconds.
	t.Run("each row of a batch goes in time", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			const rows, spacing = 10, 10 * time.Millisecond
			sent := make(chan string, rows)
			o.broker.answer = func(m event.Message) error {
				o.clock.advance(spacing)
				sent <- m.ID
				return nil
			}
			events := o.invitations(rows, "batch", o.clock.Now(), spacing)
			o.publish(events...)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			ended := make(chan error, 1)
			began := time.Now()
			go func() { ended <- o.paced(1 / spacing.Seconds()).Run(ctx) }()
			for _, e := range events {
				require.Equal(t, e.ID, eventtest.Next(t, sent))
			}
			require.Less(t, time.Since(began), rows*Poll/2)
			stop()
			require.NoError(t, eventtest.Next(t, ended))
		})
	})
}
