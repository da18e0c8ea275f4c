package legacy

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

const tryLease = time.Minute

// pod is one of our consumers, with what it has sent.
type pod struct {
	handle event.Handler
	sent   int
	during func() // while the mail server is spoken to
	err    error
}

func newPod(db *database.DB, clock Clock) *pod { return newPodWith(db, clock, sealKey) }

func newPodWith(db *database.DB, clock Clock, sealKeys ...[]byte) *pod {
	p := &pod{during: func() {}}
	p.handle = NewUnnamed(UnnamedDeps{
		DB: db, Clock: clock, SealKeys: sealKeys, Lease: tryLease, RenewEvery: time.Millisecond,
	}).Guard(func(context.Context, event.Delivery) error {
		p.during()
		if p.err == nil {
			p.sent++
		}
		return p.err
	})
	return p
}

func (p *pod) gets(m event.Message) error {
	return p.handle(context.Background(), event.Delivery{Message: m})
}

func unnamedMail() event.Message {
	return event.Message{Exchange: Exchange, Headers: map[string]string{}, Body: []byte(`{"Recipient":"` + recipient + `"}`)}
}

// handedOutAgain is m as it arrives from our own queue, where the one of ours that got it next has put it.
func handedOutAgain(m event.Message) event.Message {
	return m.Moved("identity.legacy", map[string]string{event.HeaderMoves: "1"})
}

func decide(err error, at time.Time) event.Decision {
	return event.Decide(err, event.Delivery{}, event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Hour}, false, at)
}

func outcome(err error, at time.Time) string { return decide(err, at).Outcome }

func TestUnnamed(t *testing.T) {
	t.Parallel()
	t.Run("a mail without an id is known to another of ours", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			c := newClock()
			a, b := newPod(db, c), newPod(db, c)
			m := unnamedMail()
			again := handedOutAgain(m)
			a.during = func() { // its connection is lost, and the broker has handed the mail to the other
				err := b.gets(again)
				d := decide(err, c.Now())
				require.Equal(t, event.Retry, d.Action)
				require.Equal(t, "0", d.Headers[event.HeaderAttempts], "looking is no failed try")
			}
			require.NoError(t, a.gets(m))
			require.Equal(t, event.DropDuplicate, outcome(b.gets(again), c.Now()))
			c.advance(UnnamedFor - time.Microsecond)
			require.Equal(t, event.DropDuplicate, outcome(b.gets(again), c.Now()))
			require.Equal(t, 1, a.sent)
			require.Zero(t, b.sent)

			c.advance(time.Microsecond)
			require.NoError(t, b.gets(again), "by now it is another mail that happens to be the same")
		})
	})
	t.Run("a mail is known under each accepted key", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			c, other := newClock(), bytes.Repeat([]byte{8}, 32)
			before, after := newPodWith(db, c, sealKey, other), newPodWith(db, c, other, sealKey)
			again := handedOutAgain(unnamedMail())
			before.during = func() { require.Equal(t, event.Retry, decide(after.gets(again), c.Now()).Action) }
			require.NoError(t, before.gets(unnamedMail()))
			require.Equal(t, event.DropDuplicate, outcome(after.gets(again), c.Now()))
			c.advance(UnnamedFor)
			require.NoError(t, after.gets(again))
			require.Equal(t, event.DropDuplicate, outcome(before.gets(again), c.Now()))
		})
	})
	t.Run("a try keeps its mail for as long as it lasts", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			c := newClock()
			a, b := newPod(db, c), newPod(db, c)
			a.during = func() {
				for range 3 {
					c.advance(tryLease - time.Second)
					require.Eventually(t, func() bool {
						return count(t, db, "SELECT count(*) FROM unnamed_mails WHERE busy_until = $1", c.Now().Add(tryLease)) == 1
					}, 10*time.Second, time.Millisecond)
				}
				require.Equal(t, event.Retry, decide(b.gets(handedOutAgain(unnamedMail())), c.Now()).Action)
			}
			require.NoError(t, a.gets(unnamedMail()))
			require.Equal(t, 0, count(t, db, "SELECT count(*) FROM unnamed_mails WHERE busy_until IS NOT NULL"))
			require.Zero(t, b.sent)
		})
	})
	t.Run("every first delivery is sent", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			c := newClock()
			a, b := newPod(db, c), newPod(db, c)
			a.during = func() { require.NoError(t, b.gets(unnamedMail())) }
			require.NoError(t, a.gets(unnamedMail()))
			require.NoError(t, b.gets(unnamedMail()))
			require.Equal(t, 3, a.sent+b.sent)
		})
	})
	t.Run("a mail that was not sent is tried again", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			c := newClock()
			a, b := newPod(db, c), newPod(db, c)
			again := handedOutAgain(unnamedMail())
			a.err = errors.New("not now")
			require.ErrorIs(t, a.gets(unnamedMail()), a.err)
			require.NoError(t, b.gets(again), "at once: nobody is at it")

			// The one that was begun is in a retry level, and its first copy was handed out again because the ack was lost.
			require.Equal(t, event.DropDuplicate, outcome(a.gets(handedOutAgain(unnamedMail())), c.Now()))

			other := unnamedMail()
			other.Body = []byte(`{"Recipient":"somebody@example.com"}`)
			a.err, a.during = nil, func() { panic("killed") }
			require.Panics(t, func() { _ = a.gets(other) })
			require.Equal(t, "retry", outcome(b.gets(handedOutAgain(other)), c.Now()))
			c.advance(tryLease)
			require.NoError(t, b.gets(handedOutAgain(other)), "nobody can be at it any more")
			require.Equal(t, 2, b.sent)
		})
	})
	t.Run("a copy with an id is left to the ledger", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			p := newPod(db, newClock())
			m := unnamedMail()
			m.ID = "evt_1"
			for _, copied := range []event.Message{m, m, handedOutAgain(m)} {
				require.NoError(t, p.gets(copied))
			}
			require.Equal(t, 3, p.sent)
			n, err := PurgeUnnamed(context.Background(), db, start.Add(time.Hour))
			require.NoError(t, err)
			require.Zero(t, n)
		})
	})
	t.Run("a mail that our own queue hands out again is looked for", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			p := newPod(db, newClock())
			require.NoError(t, p.gets(handedOutAgain(unnamedMail())))
			givenBack := event.Delivery{Message: unnamedMail(), HandedOut: 1} // the first copy, by a pod that has stopped
			require.Equal(t, event.DropDuplicate, outcome(p.handle(context.Background(), givenBack), start))
			require.Equal(t, 1, p.sent)
		})
	})
	t.Run("a mail that the ledger knows was sent is remembered as sent", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			p := newPod(db, newClock())
			p.err = event.Drop(event.DropDuplicate)
			require.Equal(t, event.DropDuplicate, outcome(p.gets(unnamedMail()), start))
			p.err = nil
			require.Equal(t, event.DropDuplicate, outcome(p.gets(handedOutAgain(unnamedMail())), start))
			require.Zero(t, p.sent)
		})
	})
	t.Run("an outage of the database makes mails wait", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			p := newPod(db, newClock())
			_, err := db.Conn(t.Context()).ExecContext(t.Context(), "ALTER TABLE unnamed_mails RENAME TO gone")
			require.NoError(t, err)
			for _, m := range []event.Message{unnamedMail(), handedOutAgain(unnamedMail())} {
				require.Equal(t, "retry", outcome(p.gets(m), start))
			}
			require.Zero(t, p.sent)
			rename := "ALTER TABLE gone RENAME TO unnamed_mails"
			_, err = db.Conn(t.Context()).ExecContext(t.Context(), rename)
			require.NoError(t, err)

			p.during = func() {
				_, err := db.Conn(t.Context()).ExecContext(t.Context(), "ALTER TABLE unnamed_mails RENAME TO gone")
				require.NoError(t, err)
			}
			require.Equal(t, "retry", outcome(p.gets(unnamedMail()), start), "sent, and then found in the ledger")
			require.Equal(t, 1, p.sent)
		})
	})
	t.Run("mails are purged, and only a digest was stored", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			p := newPod(db, newClock())
			require.NoError(t, p.gets(unnamedMail()))
			var stored []byte
			require.NoError(t, db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT digest FROM unnamed_mails").Scan(&stored))
			require.Len(t, stored, 32)
			require.NotEqual(t, digest(sealKey, string(unnamedMail().Body)), stored, "the key is not the one that seals")
			for i, then := range []time.Time{start, start.Add(time.Microsecond)} {
				n, err := PurgeUnnamed(t.Context(), db, then)
				require.NoError(t, err)
				require.EqualValues(t, i, n)
			}
		})
	})
}
