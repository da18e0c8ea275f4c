package outbox

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestRelay(t *testing.T) {
	t.Parallel()
	t.Run("several share the rows", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			const limit, n = 64, 3*64 + 17
			want := make([]string, n)
			events := make([]event.Event, n)
			for i := range events {
				want[i] = fmt.Sprintf("evt_%04d", i)
				events[i] = o.state(want[i])
			}
			o.publish(events...)
			var both sync.WaitGroup
			for range 2 {
				r := o.relay()
				both.Go(func() {
					for {
						n, err := r.relay(context.Background(), limit)
						if err != nil || n == 0 {
							return // an error shows in what has been sent
						}
					}
				})
			}
			both.Wait()
			require.ElementsMatch(t, want, o.broker.ids(), "each row once")
			require.Zero(t, o.depth())
		})
	})
	t.Run("an unavailable broker says nothing against the row", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.state("evt_1"), o.state("evt_2"))
			o.broker.answer = func(m event.Message) error {
				if m.ID == "evt_1" {
					return fmt.Errorf("%w: connection reset", event.ErrUnavailable)
				}
				return nil
			}
			r := o.relay()
			for range maxAttempts + 1 {
				_, err := r.relay(context.Background(), batchSize)
				require.ErrorIs(t, err, event.ErrUnavailable)
			}
			require.Equal(t, Depth{Rows: 1}, o.depth(), "released, and due at once")
			require.Equal(t, "0", string(o.column("evt_1", "attempts")))
			require.Equal(t, "evt_1 unavailable final=false", o.outcomes.seen[0])
			o.broker.answer = nil
			require.Equal(t, 1, o.step(r))
			require.Zero(t, o.depth())
		})
	})
	t.Run("a failing row backs off alone until it is given up", func(t *testing.T) {
		t.Parallel()
		for class, failure := range map[string]error{
			"unroutable": event.ErrUnroutable, "rejected": event.ErrRejected, "other": errors.New("odd"),
		} {
			t.Run(class, func(t *testing.T) {
				t.Parallel()
				schematest.Each(t, func(t *testing.T, db *database.DB) {
					o := open(t, db)
					o.publish(o.state("evt_1"))
					o.broker.answer = func(event.Message) error { return failure }
					r := o.relay()
					waited := time.Duration(0)
					for attempt := range maxAttempts {
						require.Equal(t, 1, o.step(r))
						require.Zero(t, o.step(r), "it waits")
						require.Equal(t, class, string(o.column("evt_1", "last_error")))
						pause := min(time.Second<<attempt, maxPause)
						waited += pause
						o.clock.advance(pause - time.Microsecond)
						require.Zero(t, o.step(r), "%s after failure %d", pause, attempt+1)
						o.clock.advance(time.Microsecond)
					}
					require.InDelta(t, 10*time.Minute, waited, float64(2*time.Minute), "about the life of a code")
					o.clock.advance(24 * time.Hour)
					require.Zero(t, o.step(r), "it has been given up")
					require.Equal(t, Depth{Failed: 1}, o.depth())
					require.Len(t, o.outcomes.seen, maxAttempts)
					require.Equal(t, "evt_1 "+class+" final=false", o.outcomes.seen[maxAttempts-2])
					require.Equal(t, "evt_1 "+class+" final=true", o.outcomes.seen[maxAttempts-1])

					n, err := Rows.Retry(context.Background(), db, o.clock.Now())
					require.NoError(t, err)
					require.EqualValues(t, 1, n)
					require.Equal(t, Depth{Rows: 1}, o.depth())
					o.broker.answer = nil
					require.Equal(t, 1, o.step(r))
					require.Zero(t, o.depth())
				})
			})
		}
	})
	t.Run("a refused row is never given up: the queue is full, or has lost its quorum", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.state("evt_1"))
			o.broker.answer = func(event.Message) error { return event.ErrRefused }
			r := o.relay()
			for range 2 * maxAttempts {
				require.Equal(t, 1, o.step(r))
				require.Zero(t, o.step(r), "it waits")
				o.clock.advance(maxPause)
			}
			require.Equal(t, 1, o.depth().Rows)
			require.Zero(t, o.depth().Failed)
			o.broker.answer = nil
			require.Equal(t, 1, o.step(r))
			require.Zero(t, o.depth())
		})
	})
	t.Run("confirmed rows are not sent again when their deletion fails", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.state("evt_1"))
			o.broker.answer = func(event.Message) error { o.rename("outbox", "gone"); return nil }
			r := o.relay()
			_, err := r.relay(context.Background(), batchSize)
			require.Error(t, err)
			_, err = r.relay(context.Background(), batchSize)
			require.Error(t, err, "nothing is claimed before the confirmed rows are gone")
			o.rename("gone", "outbox")
			o.broker.answer = nil
			require.Equal(t, 1, o.depth().Rows)
			o.clock.advance(2 * lease)
			require.Zero(t, o.step(r))
			require.Equal(t, []string{"evt_1"}, o.broker.ids())
			require.Zero(t, o.depth())
		})
	})
	t.Run("a row of a dead process is claimed after its lease", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.state("evt_1"))
			claimed, err := o.relay().claim(context.Background(), batchSize)
			require.NoError(t, err)
			require.Len(t, claimed, 1) // and the process dies here
			r := o.relay()
			o.clock.advance(lease - time.Microsecond)
			require.Zero(t, o.step(r))
			require.Equal(t, Depth{Rows: 1, OldestDue: lease - time.Microsecond}, o.depth(), "it goes on being owed")
			o.clock.advance(time.Microsecond)
			require.Equal(t, 1, o.step(r))
			require.Equal(t, []string{"evt_1"}, o.broker.ids())
		})
	})
	t.Run("rows go in the order in which they came due", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.state("evt_a"), o.state("evt_b"))
			o.clock.advance(time.Second)
			o.publish(o.state("evt_c"))
			require.Equal(t, Depth{Rows: 3, OldestDue: time.Second}, o.depth())
			o.step(o.relay())
			require.Equal(t, []string{"evt_a", "evt_b", "evt_c"}, o.broker.ids())
		})
	})
	t.Run("is woken, and finishes what it is at", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			sending, confirm := make(chan string, 10), make(chan struct{}, 10)
			o.broker.answer = func(m event.Message) error { sending <- m.ID; <-confirm; return nil }
			r := o.relay()
			o.publisher = NewPublisher(db, o.sealer, o.clock, r.Wake)
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- r.Run(ctx) }()
			o.publish(o.state("evt_1"))
			require.Equal(t, "evt_1", eventtest.Next(t, sending))
			r.Wake()
			r.Wake() // never blocks, however busy the relay is
			confirm <- struct{}{}

			o.publish(o.state("evt_2"))
			require.Equal(t, "evt_2", eventtest.Next(t, sending))
			stop()
			confirm <- struct{}{}
			require.NoError(t, eventtest.Next(t, ended))
			require.Zero(t, o.depth(), "the batch in flight was finished")
		})
	})
	t.Run("finds rows nobody woke it for", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			sent := make(chan string, 1)
			o.broker.answer = func(m event.Message) error { sent <- m.ID; return nil }
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			ended := make(chan error, 1)
			go func() { ended <- o.relay().Run(ctx) }()
			o.publish(o.state("evt_1")) // by a process that died before it could nudge anybody
			require.Equal(t, "evt_1", eventtest.Next(t, sent))
			stop()
			require.NoError(t, eventtest.Next(t, ended))
		})
	})
	t.Run("an outage is logged once, and its end too", func(t *testing.T) {
		t.Parallel()
		o := open(t, schematest.SQLite(t))
		var log bytes.Buffer
		tries := make(chan int, 100)
		n := 0
		o.broker.answer = func(event.Message) error {
			n++
			tries <- n
			if n < 3 {
				return event.ErrUnavailable
			}
			return nil
		}
		r := o.relay()
		r.Loop = NewLoop(Rows, zerolog.New(&log))
		o.publish(o.mail("evt_1"))
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		for eventtest.Next(t, tries) < 3 {
			r.Wake()
		}
		stop()
		require.NoError(t, eventtest.Next(t, ended))
		require.Equal(t, 1, strings.Count(log.String(), `"level":"warn"`), log.String())
		require.Equal(t, 1, strings.Count(log.String(), "published again"), log.String())
		require.NotContains(t, log.String(), code)
	})
}

func TestDepth(t *testing.T) {
	t.Parallel()
	t.Run("counts what waits and what is late", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			require.Equal(t, Depth{}, o.depth())
			o.publish(o.state("evt_1"))
			o.clock.advance(-time.Minute)
			require.Equal(t, Depth{Rows: 1}, o.depth(), "a row that is not due yet is waiting, and not late")
			_, err := db.Conn(context.Background()).ExecContext(context.Background(), "DROP TABLE outbox")
			require.NoError(t, err)
			_, err = Rows.Depth(context.Background(), db, o.clock.Now())
			require.Error(t, err)
			require.NotErrorIs(t, err, sql.ErrNoRows)
		})
	})
}

func TestFind(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.publish(o.mail("evt_1"), o.mail("evt_2"), o.mail("evt_3"))
		_, err := db.Exec(context.Background(), "giving up",
			"UPDATE outbox SET failed_at = $1, last_error = 'refused' WHERE event_id = 'evt_2'", o.clock.Now())
		require.NoError(t, err)
		ids := []string{"evt_1", "evt_2"}
		for i := range 300 {
			ids = append(ids, "evt_unknown_"+strconv.Itoa(i))
		}
		found, err := Rows.Find(context.Background(), db, ids)
		require.NoError(t, err)
		require.ElementsMatch(t, []Waiting{
			{EventID: "evt_1", DueAt: o.clock.Now()},
			{EventID: "evt_2", DueAt: o.clock.Now(), FailedAt: o.clock.Now(), Class: "refused"},
		}, found)
	})
}
