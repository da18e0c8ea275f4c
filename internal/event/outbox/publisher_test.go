package outbox

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestPublisher(t *testing.T) {
	t.Parallel()
	t.Run("needs a transaction", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			require.ErrorIs(t, o.publisher.Publish(context.Background(), o.mail("evt_1")), database.ErrNoTx)
			require.Zero(t, o.woken)
			require.Zero(t, o.depth())
		})
	})
	t.Run("a row shares the fate of its transaction", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			regret := errors.New("regret")
			require.ErrorIs(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.NoError(t, o.publisher.Publish(ctx, o.mail("evt_1")))
				return regret
			}), regret)
			require.Zero(t, o.depth())
			require.Zero(t, o.woken)

			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.NoError(t, o.publisher.Publish(ctx, o.mail("evt_1")))
				require.Zero(t, o.woken, "the relay is woken by the commit, not before it")
				return nil
			}))
			require.Equal(t, 1, o.depth().Rows)
			require.Equal(t, 1, o.woken)
		})
	})
	t.Run("refuses before it stores", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			big := o.mail("evt_big")
			data := big.Data.(event.VerificationRequested)
			data.Recipient = strings.Repeat("x", event.MaxBody)
			big.Data = data
			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.ErrorIs(t, o.publisher.Publish(ctx, big), event.ErrTooLarge)
				require.Error(t, o.publisher.Publish(ctx, event.Event{ID: "evt_1", Key: "a.b"}))
				return nil
			}))
			require.Zero(t, o.depth())
		})
	})
	t.Run("stores nothing that cannot be written to a broker", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				for name, value := range map[string]string{strings.Repeat("n", 256): "", "a": strings.Repeat("secret", 1000)} {
					e := o.state("evt_1")
					e.Headers = map[string]string{name: value}
					err := o.publisher.Publish(ctx, o.state("evt_2"), e)
					require.ErrorIs(t, err, event.ErrRejected)
					require.NotContains(t, err.Error(), "secret")
				}
				e := o.state(strings.Repeat("i", 256))
				require.Error(t, o.publisher.Publish(ctx, e))
				return nil
			}))
			require.Zero(t, o.depth())
		})
	})
	t.Run("bodies of mails are sealed at rest", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.mail("evt_mail"), o.state("evt_state"))
			require.NotContains(t, string(o.column("evt_mail", "body")), code)
			require.NotContains(t, string(o.column("evt_mail", "body")), "ann@example.com")
			require.Contains(t, string(o.column("evt_state", "body")), "trialing")

			require.Equal(t, 2, o.step(o.relay()))
			require.Equal(t, []string{"evt_mail", "evt_state"}, o.broker.ids())
			for _, m := range o.broker.sent {
				want, err := event.Encode(map[string]event.Event{"evt_mail": o.mail("evt_mail"), "evt_state": o.state("evt_state")}[m.ID])
				require.NoError(t, err)
				require.Equal(t, string(want.Body), string(m.Body))
				require.True(t, want.Timestamp.Equal(m.Timestamp))
				m.Body, m.Timestamp, want.Body, want.Timestamp = nil, time.Time{}, nil, time.Time{}
				require.Equal(t, want, m, "a row is the complete message")
			}
			require.Zero(t, o.depth(), "confirmed rows are gone")
			require.Equal(t, []string{"evt_mail published", "evt_state published"}, o.outcomes.seen)
		})
	})
	t.Run("the trace travels in the headers, beside those of the event", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			span := trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
			})
			ctx := trace.ContextWithSpanContext(context.Background(), span)
			e := o.state("evt_1")
			e.Headers = map[string]string{"x-a": "1"}
			require.NoError(t, db.WithinTx(ctx, func(ctx context.Context) error { return o.publisher.Publish(ctx, e) }))
			require.Equal(t, map[string]string{"x-a": "1"}, e.Headers, "the caller's headers are left alone")
			o.step(o.relay())
			require.Equal(t, map[string]string{
				"x-a": "1", event.HeaderTraceparent: "00-01000000000000000000000000000000-0200000000000000-01",
			}, o.broker.sent[0].Headers)
		})
	})
}

// otherRelay returns a relay of a process with another key, and with those that it accepts.
func (o *office) otherRelay(log zerolog.Logger, accepted ...[]byte) *Relay {
	o.Helper()
	sealer, err := NewSealer(bytes.Repeat([]byte{8}, 32), accepted...)
	require.NoError(o, err)
	return NewRelay(o.db, sealer, o.clock, o.broker, o.outcomes, batchSize, log)
}

type writerFunc func([]byte)

func (f writerFunc) Write(line []byte) (int, error) { f(line); return len(line), nil }

func TestSealing(t *testing.T) {
	t.Parallel()
	t.Run("a row sealed with another key is left to who can open it", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.mail("evt_mail"), o.state("evt_state"))
			var log bytes.Buffer
			wrong := o.otherRelay(zerolog.New(&log))
			for range maxAttempts + 1 {
				wrong.keysDue = time.Time{}
				wrong.CheckKeys(context.Background(), db, wrong.sealer.KeyIDs())
				o.step(wrong)
				o.clock.advance(maxPause)
			}
			require.Equal(t, []string{"evt_state published"}, o.outcomes.seen)
			require.Equal(t, "0", string(o.column("evt_mail", "attempts")))
			require.Empty(t, o.column("evt_mail", "lease_until"), "it was never claimed")
			require.EqualError(t, wrong.KeyError(), "1 rows of outbox are sealed with another EVENTS_SEAL_KEY than this process has")
			require.Equal(t, 1, strings.Count(log.String(), "another EVENTS_SEAL_KEY"), log.String())
			require.NotContains(t, log.String(), code)

			right := o.relay()
			right.CheckKeys(context.Background(), db, o.sealer.KeyIDs())
			require.NoError(t, right.KeyError())
			require.Equal(t, 1, o.step(right), "with the right key it goes")
			require.Equal(t, []string{"evt_state", "evt_mail"}, o.broker.ids())
			wrong.keysDue = time.Time{}
			wrong.CheckKeys(context.Background(), db, wrong.sealer.KeyIDs())
			require.NoError(t, wrong.KeyError())
		})
	})
	t.Run("rows of both keys leave from a process that accepts both", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.mail("evt_1"))
			both := o.otherRelay(zerolog.Nop(), bytes.Repeat([]byte{7}, 32))
			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				return NewPublisher(db, both.sealer, o.clock, func() {}).Publish(ctx, o.mail("evt_2"))
			}))
			require.NotEqual(t, o.column("evt_1", "seal_key"), o.column("evt_2", "seal_key"), "the first key seals")
			both.CheckKeys(context.Background(), db, both.sealer.KeyIDs())
			require.NoError(t, both.KeyError())
			o.exec("UPDATE outbox SET seal_key = NULL WHERE event_id = 'evt_1'")
			require.Equal(t, 2, o.step(both))
			require.Equal(t, []string{"evt_1", "evt_2"}, o.broker.ids())
			for _, m := range o.broker.sent {
				require.Contains(t, string(m.Body), code)
			}
		})
	})
	t.Run("a relay with another key says so at its start", func(t *testing.T) {
		t.Parallel()
		o := open(t, schematest.SQLite(t))
		o.publish(o.mail("evt_mail"))
		said := make(chan string, 10)
		wrong := o.otherRelay(zerolog.New(writerFunc(func(line []byte) { said <- string(line) })))
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- wrong.Run(ctx) }()
		require.Contains(t, eventtest.Next(t, said), "EVENTS_SEAL_KEY")
		stop()
		require.NoError(t, eventtest.Next(t, ended))
	})
	// The release before this one stores no id of its key.
	t.Run("a row of an unknown key is tried, and waits alone if it does not open", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.mail("evt_mail"), o.state("evt_state"))
			_, err := db.Conn(context.Background()).ExecContext(context.Background(), "UPDATE outbox SET seal_key = NULL")
			require.NoError(t, err)
			var log bytes.Buffer
			o.step(o.otherRelay(zerolog.New(&log)))
			require.Equal(t, []string{"evt_state"}, o.broker.ids())
			require.Equal(t, []string{"evt_mail sealed final=false", "evt_state published"}, o.outcomes.seen)
			require.Equal(t, "sealed", string(o.column("evt_mail", "last_error")))
			require.Contains(t, log.String(), "evt_mail")
			require.NotContains(t, log.String(), code)

			o.clock.advance(time.Second)
			require.Equal(t, 1, o.step(o.relay()), "with the right key it goes")
			require.Equal(t, []string{"evt_state", "evt_mail"}, o.broker.ids())
		})
	})
	t.Run("a sealed body belongs to its row", func(t *testing.T) {
		t.Parallel()
		_, err := NewSealer(make([]byte, 16))
		require.ErrorContains(t, err, "32 bytes")
		other, err := NewSealer(bytes.Repeat([]byte{8}, 32))
		require.NoError(t, err)
		s, err := NewSealer(bytes.Repeat([]byte{7}, 32))
		require.NoError(t, err)
		require.Len(t, s.KeyID(), 16)
		require.NotEqual(t, s.KeyID(), other.KeyID())
		first, second := s.Seal("evt_1", []byte(code)), s.Seal("evt_1", []byte(code))
		require.NotEqual(t, first, second, "equal bodies do not look equal")
		body, err := s.Open("evt_1", first)
		require.NoError(t, err)
		require.Equal(t, code, string(body))
		_, err = s.Open("evt_2", first)
		require.ErrorIs(t, err, errSealed, "a body belongs to its row")
		first[len(first)-1] ^= 1
		_, err = s.Open("evt_1", first)
		require.ErrorIs(t, err, errSealed)
		_, err = s.Open("evt_1", []byte("short"))
		require.ErrorIs(t, err, errSealed)
	})
}
