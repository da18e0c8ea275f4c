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

func TestSealing(t *testing.T) {
	t.Parallel()
	t.Run("a row sealed with another key waits alone", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.mail("evt_mail"), o.state("evt_state"))
			right := o.sealer
			var err error
			o.sealer, err = NewSealer(bytes.Repeat([]byte{8}, 32))
			require.NoError(t, err)
			var log bytes.Buffer
			r := o.relay()
			r.log = zerolog.New(&log)
			o.step(r)
			require.Equal(t, []string{"evt_state"}, o.broker.ids())
			require.Equal(t, []string{"evt_mail sealed final=false", "evt_state published"}, o.outcomes.seen)
			require.Equal(t, "sealed", string(o.column("evt_mail", "last_error")))
			require.Contains(t, log.String(), "evt_mail")
			require.NotContains(t, log.String(), code)

			o.sealer = right
			o.clock.advance(time.Second)
			require.Equal(t, 1, o.step(o.relay()), "with the right key it goes")
			require.Equal(t, []string{"evt_state", "evt_mail"}, o.broker.ids())
		})
	})
	t.Run("a sealed body belongs to its row", func(t *testing.T) {
		t.Parallel()
		_, err := NewSealer(make([]byte, 16))
		require.ErrorContains(t, err, "32 bytes")
		s, err := NewSealer(bytes.Repeat([]byte{7}, 32))
		require.NoError(t, err)
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
