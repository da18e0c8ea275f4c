package legacy

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// sitting is a Sender that has a message and says nothing, as a broker under an alarm. It answers what it is told to, or
// event.ErrUnavailable once the Send is given up.
type sitting struct {
	has    chan string
	answer chan error
}

func (s sitting) Send(ctx context.Context, messages []event.Message) []error {
	s.has <- messages[0].ID
	select {
	case err := <-s.answer:
		return []error{err}
	case <-ctx.Done():
		return []error{event.ErrUnavailable}
	}
}

// blocked is a relay whose one single a broker sits on.
type blocked struct {
	*office
	sitting
	ticks chan time.Time
	stop  context.CancelFunc
	ended chan error
}

func (o *office) blocked() blocked {
	o.Helper()
	b := blocked{o, sitting{make(chan string, 1), make(chan error)}, make(chan time.Time), nil, make(chan error, 1)}
	o.singles("one_1")
	r := NewRelay(o.db, o.sealer, o.clock, b.sitting, o.outcomes, batchSize, zerolog.Nop())
	r.renewals = b.ticks
	ctx, stop := context.WithCancel(context.Background())
	o.Cleanup(stop)
	b.stop = stop
	go func() {
		_, err := r.relay(ctx, batchSize)
		b.ended <- err
	}()
	require.Equal(o, "one_1", eventtest.Next(o.T, b.has))
	return b
}

// passes lets as much time pass as is between two renewals.
func (b blocked) passes() {
	b.clock.advance(renewEvery)
	select {
	case b.ticks <- time.Time{}:
	case err := <-b.ended: // it has seen that the next one would be too late
		b.ended <- err
	}
}

// free answers how many rows another relay could take.
func (b blocked) free() int {
	b.Helper()
	rows, err := claim(context.Background(), b.db, b.clock.Now(), batchSize, batchSize)
	require.NoError(b, err)
	return len(rows)
}

func TestASingleThatTheBrokerSitsOnStaysOurs(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		b := open(t, db).blocked()
		for range 12 { // two minutes; the lease is half of one
			b.passes()
			require.Zero(t, b.free())
		}
		b.answer <- nil
		require.NoError(t, eventtest.Next(t, b.ended))
		require.Zero(t, b.depth())
		require.Equal(t, []string{"one_1 published"}, b.outcomes.seen)
	})
}

func TestASingleThatTheBrokerDidNotTakeIsFreeAtOnceHoweverLongThatTook(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		b := open(t, db).blocked()
		for range 4 {
			b.passes()
		}
		b.answer <- event.ErrUnavailable
		require.ErrorIs(t, eventtest.Next(t, b.ended), event.ErrUnavailable)
		require.Equal(t, 1, b.free())
	})
}

func TestAStopGivesUpTheSingleThatTheBrokerSitsOn(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		b := open(t, db).blocked()
		b.passes()
		b.stop()
		require.ErrorIs(t, eventtest.Next(t, b.ended), event.ErrUnavailable)
		require.Equal(t, 1, b.free())
	})
}

func TestASingleIsGivenUpBeforeItsLeaseEnds(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		b := open(t, db).blocked()
		b.rename("outbox", "gone") // the database is away
		b.passes()
		b.passes()
		require.Error(t, eventtest.Next(t, b.ended))
		b.rename("gone", "outbox")
		require.Zero(t, b.free())
		b.clock.advance(lease - 2*renewEvery)
		require.Equal(t, 1, b.free(), "not renewed")
	})
}

func TestASingleIsGivenUpWhenSomebodyElseHasIt(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		b := open(t, db).blocked()
		b.clock.advance(lease)
		require.Equal(t, 1, b.free(), "this process was frozen for as long as that") // and now it is another's
		b.ticks <- time.Time{}
		require.ErrorIs(t, eventtest.Next(t, b.ended), event.ErrUnavailable)
		require.Zero(t, b.free(), "it is still the other's")
	})
}
