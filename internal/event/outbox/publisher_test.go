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

func TestPublishNeedsATransaction(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		require.ErrorIs(t, o.publisher.Publish(context.Background(), o.mail("evt_1")), database.ErrNoTx)
		require.Zero(t, o.woken)
		require.Zero(t, o.depth())
	})
}

func TestTheRowSharesTheFateOfItsTransaction(t *testing.T) {
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
}

func TestPublishRefusesBeforeItStores(t *testing.T) {
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
}

func TestBodiesOfMailsAreSealedAtRest(t *testing.T) {
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
}

func TestStoreTakesAMessageAsItIs(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		given := event.Message{
			ID: "evt_1", Exchange: fanoutExchange, ContentType: "text/plain", Timestamp: o.clock.Now().Truncate(time.Second),
			Mandatory: true, Single: true, Headers: map[string]string{"x-a": "1"}, Body: []byte("code " + code),
		}
		want := given
		require.ErrorIs(t, o.publisher.Store(context.Background(), given, true), database.ErrNoTx)
		require.Zero(t, o.woken)
		ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
		}))
		require.NoError(t, db.WithinTx(ctx, func(ctx context.Context) error {
			other := given
			other.ID, other.Headers, other.Single = "evt_2", nil, false
			require.NoError(t, o.publisher.Store(ctx, given, true))
			return o.publisher.Store(ctx, other, false)
		}))
		require.Equal(t, want, given, "the caller's message is left alone")
		require.Equal(t, map[string]string{"x-a": "1"}, given.Headers)
		require.Equal(t, 2, o.woken)
		require.NotContains(t, string(o.column("evt_1", "body")), code)
		require.Contains(t, string(o.column("evt_2", "body")), code)

		require.Equal(t, 2, o.step(o.relay()))
		require.Equal(t, []string{"evt_2", "evt_1"}, o.broker.ids())
		sent := o.broker.sent[1]
		require.True(t, want.Timestamp.Equal(sent.Timestamp))
		sent.Timestamp = want.Timestamp
		want.Headers = map[string]string{
			"x-a": "1", event.HeaderTraceparent: "00-01000000000000000000000000000000-0200000000000000-01",
		}
		require.Equal(t, want, sent)
	})
}

func TestARowSealedWithAnotherKeyWaitsAlone(t *testing.T) {
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
}

func TestSealer(t *testing.T) {
	t.Parallel()
	_, err := NewSealer(make([]byte, 16))
	require.ErrorContains(t, err, "32 bytes")
	s, err := NewSealer(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	first, second := s.seal("evt_1", []byte(code)), s.seal("evt_1", []byte(code))
	require.NotEqual(t, first, second, "equal bodies do not look equal")
	body, err := s.open("evt_1", first)
	require.NoError(t, err)
	require.Equal(t, code, string(body))
	_, err = s.open("evt_2", first)
	require.ErrorIs(t, err, errSealed, "a body belongs to its row")
	first[len(first)-1] ^= 1
	_, err = s.open("evt_1", first)
	require.ErrorIs(t, err, errSealed)
	_, err = s.open("evt_1", []byte("short"))
	require.ErrorIs(t, err, errSealed)
}

func TestTheTraceTravels(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		span := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
		})
		ctx := trace.ContextWithSpanContext(context.Background(), span)
		require.NoError(t, db.WithinTx(ctx, func(ctx context.Context) error {
			return o.publisher.Publish(ctx, o.state("evt_1"))
		}))
		o.step(o.relay())
		require.Equal(t, "00-01000000000000000000000000000000-0200000000000000-01",
			o.broker.sent[0].Headers[event.HeaderTraceparent])
	})
}
