package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// outcomes is an outbox.Observer.
type outcomes struct {
	mu   sync.Mutex
	seen []string
}

func (o *outcomes) Published(m event.Message, _ time.Duration) { o.add(m.ID + " published") }

func (o *outcomes) Failed(m event.Message, class string, final bool) {
	o.add(fmt.Sprintf("%s %s final=%t", m.ID, class, final))
}

func (o *outcomes) add(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, s)
}

// bureau is the table of legacy copies with everything around a Relay. Its broker confirms what answer does not refuse.
type bureau struct {
	*testing.T
	db       *database.DB
	clock    *handClock
	outcomes outcomes

	mu     sync.Mutex
	answer func(m event.Message) error
	sent   []string
}

func eachBureau(t *testing.T, test func(b *bureau)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		test(&bureau{T: t, db: db, clock: newClock(), answer: func(event.Message) error { return nil }})
	})
}

func (b *bureau) send(_ context.Context, m event.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, m.ID)
	return b.answer(m)
}

func (b *bureau) ids() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.sent...)
}

func (b *bureau) relay() *Relay {
	return NewRelay(RelayDeps{
		DB: b.db, Clock: b.clock, Sealer: newSealer(b.T), Send: b.send, Observer: &b.outcomes, Log: zerolog.Nop(),
	})
}

// store puts copies into the table, in one transaction.
func (b *bureau) store(ids ...string) {
	b.Helper()
	require.NoError(b, b.db.WithinTx(context.Background(), func(ctx context.Context) error {
		tx, err := b.db.Tx(ctx)
		require.NoError(b, err)
		for _, id := range ids {
			m := copyOf(id, b.clock.Now().Truncate(time.Second), []byte(code), map[string]string{"x-test": id})
			require.NoError(b, insert(ctx, tx, newSealer(b.T), m, b.clock.Now()))
		}
		return nil
	}))
}

// next lets a relay do one row.
func (b *bureau) next(r *Relay) bool {
	b.Helper()
	handled, err := r.next(context.Background())
	require.NoError(b, err)
	return handled
}

// all lets a relay do every row that is due.
func (b *bureau) all(r *Relay) (n int) {
	b.Helper()
	for b.next(r) {
		n++
	}
	return n
}

func (b *bureau) rows(id string) int {
	b.Helper()
	return count(b.T, b.db, "SELECT count(*) FROM legacy_mails WHERE event_id = $1", id)
}

func (b *bureau) depth() outbox.Depth {
	b.Helper()
	d, err := Rows.Depth(context.Background(), b.db, b.clock.Now())
	require.NoError(b, err)
	return d
}

func (b *bureau) column(id, column string) (value string) {
	b.Helper()
	require.NoError(b, b.db.Conn(context.Background()).QueryRowContext(context.Background(),
		"SELECT coalesce(CAST("+column+" AS text), '') FROM legacy_mails WHERE event_id = $1", id).Scan(&value))
	return value
}

// away takes the table away, and back brings it back: as an outage of the database.
func (b *bureau) away() { exec(b.T, b.db, "ALTER TABLE legacy_mails RENAME TO gone") }
func (b *bureau) back() { exec(b.T, b.db, "ALTER TABLE gone RENAME TO legacy_mails") }

func TestRelay(t *testing.T) {
	t.Parallel()
	t.Run("sends the copies one at a time, each deleted before the next", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			b.store("one_1", "one_2")
			b.clock.advance(time.Second)
			b.store("one_3")
			var gone []string
			b.answer = func(m event.Message) error {
				for _, id := range gone {
					require.Zero(b, b.rows(id), "%s is deleted before %s is sent", id, m.ID)
				}
				require.Equal(b, 1, b.rows(m.ID))
				require.Equal(b, code, string(m.Body), "opened")
				require.Equal(b, map[string]string{"x-test": m.ID}, m.Headers)
				require.Equal(b, Exchange, m.Exchange)
				gone = append(gone, m.ID)
				return nil
			}
			require.Equal(b, 3, b.all(b.relay()))
			require.Equal(b, []string{"one_1", "one_2", "one_3"}, b.ids(), "oldest first")
			require.Zero(b, b.depth())
			require.Equal(b, "one_3 published", b.outcomes.seen[2])
		})
	})

	t.Run("sends nothing while the deletion of the last fails", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			b.store("one_1", "one_2", "one_3")
			b.answer = func(m event.Message) error {
				if m.ID == "one_2" {
					b.away()
				}
				return nil
			}
			r := b.relay()
			require.True(b, b.next(r))
			for range 3 {
				_, err := r.next(context.Background())
				require.Error(b, err)
				require.Equal(b, []string{"one_1", "one_2"}, b.ids())
			}
			b.back()
			b.clock.advance(lease)
			require.Equal(b, 1, b.all(r))
			require.Equal(b, []string{"one_1", "one_2", "one_3"}, b.ids(), "each once")
			require.Zero(b, b.depth())
		})
	})

	t.Run("killed between confirm and deletion, repeats one copy", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			b.store("one_1", "one_2", "one_3", "one_4")
			b.answer = func(m event.Message) error {
				if m.ID == "one_2" {
					b.away() // whatever this relay does from here on comes to nothing: it is dead
				}
				return nil
			}
			dead := b.relay()
			require.True(b, b.next(dead))
			_, err := dead.next(context.Background())
			require.Error(b, err)
			b.back()
			b.answer = func(event.Message) error { return nil }

			other := b.relay()
			require.Equal(b, 2, b.all(other), "the dead relay's lease still holds one")
			b.clock.advance(lease - time.Microsecond)
			require.Zero(b, b.all(other))
			b.clock.advance(time.Microsecond)
			require.Equal(b, 1, b.all(other))
			require.Equal(b, []string{"one_1", "one_2", "one_3", "one_4", "one_2"}, b.ids())
			require.Zero(b, b.depth())
		})
	})

	t.Run("an unavailable broker gets nothing more, and the copy is free at once", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			b.store("one_1", "one_2", "one_3")
			b.answer = func(m event.Message) error {
				if m.ID == "one_2" {
					return fmt.Errorf("%w: connection reset", event.ErrUnavailable)
				}
				return nil
			}
			r := b.relay()
			require.True(b, b.next(r))
			_, err := r.next(context.Background())
			require.ErrorIs(b, err, event.ErrUnavailable)
			require.Equal(b, []string{"one_1", "one_2"}, b.ids())
			require.Equal(b, []string{"one_1 published", "one_2 unavailable final=false"}, b.outcomes.seen)
			require.Equal(b, "0", b.column("one_2", "attempts"))
			b.answer = func(event.Message) error { return nil }
			require.Equal(b, 2, b.all(b.relay()), "for any relay")
			require.Equal(b, []string{"one_1", "one_2", "one_2", "one_3"}, b.ids())
		})
	})

	for class, failure := range map[string]error{
		"unroutable": event.ErrUnroutable, "other": errors.New("odd"),
	} {
		t.Run("a copy at fault backs off alone until it is given up: "+class, func(t *testing.T) {
			t.Parallel()
			eachBureau(t, func(b *bureau) {
				b.store("one_1", "one_2")
				b.answer = func(m event.Message) error {
					if m.ID == "one_1" {
						return failure
					}
					return nil
				}
				r := b.relay()
				require.Equal(b, 2, b.all(r))
				require.Equal(b, []string{"one_1 " + class + " final=false", "one_2 published"}, b.outcomes.seen)
				waited := time.Duration(0)
				const maxAttempts = 15
				for attempt := range maxAttempts {
					require.Equal(b, class, b.column("one_1", "last_error"))
					pause := min(time.Second<<attempt, time.Minute)
					waited += pause
					b.clock.advance(pause - time.Microsecond)
					require.Zero(b, b.all(r), "%s after failure %d", pause, attempt+1)
					b.clock.advance(time.Microsecond)
					if attempt < maxAttempts-1 {
						require.Equal(b, 1, b.all(r))
					}
				}
				require.InDelta(b, 10*time.Minute, waited, float64(2*time.Minute), "about the life of a code")
				b.clock.advance(24 * time.Hour)
				require.Zero(b, b.all(r), "it has been given up")
				require.Equal(b, outbox.Depth{Failed: 1}, b.depth())
				require.Equal(b, "one_1 "+class+" final=true", b.outcomes.seen[len(b.outcomes.seen)-1])
				require.Len(b, b.outcomes.seen, 1+maxAttempts)

				n, err := Rows.Retry(context.Background(), b.db, b.clock.Now())
				require.NoError(b, err)
				require.EqualValues(b, 1, n)
				require.Equal(b, outbox.Depth{Rows: 1}, b.depth())
				b.answer = func(event.Message) error { return nil }
				require.Equal(b, 1, b.all(r))
				require.Zero(b, b.depth())
			})
		})
	}

	t.Run("a copy sealed with another key is left to who can open it", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			b.store("one_1")
			other, err := outbox.NewSealer(bytes.Repeat([]byte{9}, 32))
			require.NoError(b, err)
			wrong := b.relay()
			wrong.deps.Sealer = other
			require.Zero(b, b.all(wrong))
			require.Equal(b, "0", b.column("one_1", "attempts"))
			wrong.CheckKeys(context.Background(), b.db, other.KeyIDs())
			require.ErrorContains(b, wrong.KeyError(), "EVENTS_SEAL_KEY")
			require.Equal(b, 1, b.all(b.relay()))

			b.store("one_2")
			both := b.relay()
			both.deps.Sealer, err = outbox.NewSealer(bytes.Repeat([]byte{9}, 32), sealKey)
			require.NoError(b, err)
			require.Equal(b, 1, b.all(both), "and to who accepts its key")
		})
	})
	t.Run("a copy that cannot be read waits alone", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			b.store("one_1")
			exec(t, b.db, "UPDATE legacy_mails SET headers = '{'")
			b.store("one_2")
			require.Equal(b, 2, b.all(b.relay()))
			require.Equal(b, []string{"one_2"}, b.ids())
			require.Equal(b, "unreadable", b.column("one_1", "last_error"))
		})
	})
	t.Run("a copy that does not open waits alone", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			b.store("one_1")
			exec(t, b.db, "UPDATE legacy_mails SET body = 'something else'")
			b.store("one_2")
			var log bytes.Buffer
			r := b.relay()
			r.deps.Log = zerolog.New(&log)
			require.Equal(b, 2, b.all(r))
			require.Equal(b, []string{"one_2"}, b.ids())
			require.Equal(b, "sealed", b.column("one_1", "last_error"))
			require.Equal(b, "one_1 sealed final=false", b.outcomes.seen[0])
			require.Contains(b, log.String(), "one_1")
			require.NotContains(b, log.String(), code)
		})
	})

	t.Run("a relay that was frozen leaves the leases of others alone", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			b.store("one_1")
			b.answer = func(event.Message) error {
				b.clock.advance(lease) // the process was frozen, and another relay has taken over
				_, found, err := claim(context.Background(), b.db, newSealer(b.T).KeyIDs(), b.clock.Now(), b.clock.Now().Add(lease))
				require.NoError(b, err)
				require.True(b, found)
				return event.ErrUnavailable
			}
			_, err := b.relay().next(context.Background())
			require.ErrorIs(b, err, event.ErrUnavailable)
			b.answer = func(event.Message) error { return nil }
			require.Zero(b, b.all(b.relay()), "the row is still the other's")
		})
	})

	t.Run("several share the rows, and none sends a copy twice", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			var want []string
			for i := range 60 {
				want = append(want, fmt.Sprintf("one_%02d", i))
			}
			b.store(want...)
			var both sync.WaitGroup
			for range 2 {
				r := b.relay()
				both.Go(func() {
					for {
						if handled, err := r.next(context.Background()); err != nil || !handled {
							return // an error shows in what has been sent
						}
					}
				})
			}
			both.Wait()
			require.ElementsMatch(b, want, b.ids(), "each once")
			require.Zero(b, b.depth())
		})
	})

	t.Run("finds rows nobody woke it for, is woken for others, and begins none after a stop", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			sending, confirm := make(chan string, 10), make(chan struct{}, 10)
			b.answer = func(m event.Message) error { sending <- m.ID; <-confirm; return nil }
			r := b.relay()
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			ended := make(chan error, 1)
			go func() { ended <- r.Run(ctx) }()
			b.store("one_1")
			require.Equal(b, "one_1", eventtest.Next(b.T, sending))
			confirm <- struct{}{}
			b.store("one_2", "one_3")
			r.Wake()
			r.Wake() // never blocks, however busy the relay is
			require.Equal(b, "one_2", eventtest.Next(b.T, sending))
			stop()
			confirm <- struct{}{}
			require.NoError(b, eventtest.Next(b.T, ended))
			require.Equal(b, []string{"one_1", "one_2"}, b.ids(), "the one in flight was finished")
			b.answer = func(event.Message) error { return nil }
			require.Equal(b, 1, b.all(b.relay()), "the last is due at once")
		})
	})

	t.Run("an outage is logged once, and its end too", func(t *testing.T) {
		t.Parallel()
		b := &bureau{T: t, db: schematest.SQLite(t), clock: newClock()}
		var log bytes.Buffer
		tries := make(chan int, 100)
		n := 0
		b.answer = func(event.Message) error {
			n++
			tries <- n
			if n < 3 {
				return event.ErrUnavailable
			}
			return nil
		}
		r := b.relay()
		r.Loop = outbox.NewLoop(Rows, zerolog.New(&log))
		b.store("one_1")
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

// silent is a broker under an alarm: it has a message and confirms nothing. It returns what the test sets, or
// event.ErrUnavailable once the send is given up.
type silent struct {
	*bureau
	has    chan string
	result chan error
	ticks  chan time.Time
	stop   context.CancelFunc
	ended  chan error
}

func (b *bureau) silent() silent {
	b.Helper()
	s := silent{b, make(chan string, 1), make(chan error), make(chan time.Time), nil, make(chan error, 1)}
	b.store("one_1")
	r := b.relay()
	r.renewals = s.ticks
	r.deps.Send = func(ctx context.Context, m event.Message) error {
		s.has <- m.ID
		select {
		case err := <-s.result:
			return err
		case <-ctx.Done():
			return event.ErrUnavailable
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	b.Cleanup(stop)
	s.stop = stop
	go func() {
		_, err := r.next(ctx)
		s.ended <- err
	}()
	require.Equal(b, "one_1", eventtest.Next(b.T, s.has))
	return s
}

// passes lets as much time pass as is between two renewals.
func (s silent) passes() {
	s.clock.advance(renewEvery)
	select {
	case s.ticks <- time.Time{}:
	case err := <-s.ended: // it has seen that the next one would be too late
		s.ended <- err
	}
}

// free reports whether another relay can claim the row, and claims it.
func (s silent) free() bool {
	s.Helper()
	_, found, err := claim(context.Background(), s.db, newSealer(s.T).KeyIDs(), s.clock.Now(), s.clock.Now().Add(lease))
	require.NoError(s, err)
	return found
}

func TestRelayKeepsItsLease(t *testing.T) {
	t.Parallel()
	t.Run("for as long as the broker has the copy", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			s := b.silent()
			for range 12 { // two minutes; the lease is half of one
				s.passes()
				require.False(b, s.free())
			}
			s.result <- nil
			require.NoError(b, eventtest.Next(b.T, s.ended))
			require.Zero(b, s.depth())
			require.Equal(b, []string{"one_1 published"}, b.outcomes.seen)
		})
	})
	t.Run("and gives the row back at once when the broker did not take it", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			s := b.silent()
			for range 4 {
				s.passes()
			}
			s.result <- event.ErrUnavailable
			require.ErrorIs(b, eventtest.Next(b.T, s.ended), event.ErrUnavailable)
			require.True(b, s.free())
		})
	})
	t.Run("until a stop gives up the send", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			s := b.silent()
			s.passes()
			s.stop()
			require.ErrorIs(b, eventtest.Next(b.T, s.ended), event.ErrUnavailable)
			require.True(b, s.free())
		})
	})
	t.Run("and gives up the send before the lease ends when it cannot be renewed", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			s := b.silent()
			b.away() // the database
			s.passes()
			s.passes()
			require.Error(b, eventtest.Next(b.T, s.ended))
			b.back()
			require.False(b, s.free())
			b.clock.advance(lease - 2*renewEvery)
			require.True(b, s.free(), "not renewed")
		})
	})
	t.Run("and gives up the send when another relay has the row", func(t *testing.T) {
		t.Parallel()
		eachBureau(t, func(b *bureau) {
			s := b.silent()
			b.clock.advance(lease)
			require.True(b, s.free(), "this process was frozen for as long as that")
			s.ticks <- time.Time{}
			require.ErrorIs(b, eventtest.Next(b.T, s.ended), event.ErrUnavailable)
			require.False(b, s.free(), "it is still the other's")
		})
	})
}

func TestDepthAndRetry(t *testing.T) {
	t.Parallel()
	eachBureau(t, func(b *bureau) {
		require.Equal(b, outbox.Depth{}, b.depth())
		b.store("one_1", "one_2")
		b.clock.advance(time.Second)
		require.Equal(b, outbox.Depth{Rows: 2, OldestDue: time.Second}, b.depth())
		b.clock.advance(-time.Minute)
		require.Equal(b, outbox.Depth{Rows: 2}, b.depth(), "a row that is not due yet is waiting, and not late")
		b.away()
		_, err := Rows.Depth(context.Background(), b.db, b.clock.Now())
		require.ErrorContains(b, err, "counting rows")
		_, err = Rows.Retry(context.Background(), b.db, b.clock.Now())
		require.ErrorContains(b, err, "retrying")
	})
}
