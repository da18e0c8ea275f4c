package heartbeat

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// pulse is a Heartbeat that beats when it is told to.
type pulse struct {
	*testing.T
	db    *database.DB
	clock *handClock
	log   bytes.Buffer // to be read once it has ended
	ticks chan time.Time
	stop  context.CancelFunc
	ended chan error
}

func eachPulse(t *testing.T, test func(p *pulse)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		p := &pulse{T: t, db: db, clock: &handClock{now: start}, ticks: make(chan time.Time), ended: make(chan error, 1)}
		h := New(Deps{DB: db, Clock: p.clock, Role: "api", Version: "1.2.3", Note: "dual", Log: zerolog.New(&p.log),
			Report: func(context.Context) string { return p.clock.Now().String() }})
		h.ticks = p.ticks
		ctx, stop := context.WithCancel(context.Background())
		p.stop = stop
		go func() { p.ended <- h.Run(ctx) }()
		test(p)
		stop()
	})
}

// beaten returns when the beat under way has come to its end; another one then begins.
func (p *pulse) beaten() {
	p.Helper()
	beat := make(chan struct{})
	go func() { p.ticks <- time.Time{}; close(beat) }()
	select {
	case <-beat:
	case err := <-p.ended:
		require.FailNow(p, "the heartbeat has ended", "%v", err)
	}
}

func (p *pulse) self() Process {
	p.Helper()
	found, err := List(context.Background(), p.db, time.Time{})
	require.NoError(p, err)
	require.Len(p, found, 1)
	return found[0]
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	t.Run("beats from start to stop", func(t *testing.T) {
		t.Parallel()
		eachPulse(t, func(p *pulse) {
			p.beaten()
			first := p.self()
			require.NotEmpty(p, first.ID)
			require.Equal(p, Process{first.ID, "api", "1.2.3", "dual", start.String(), start, start, nil}, first)

			p.beaten()
			p.clock.advance(BeatEvery)
			p.beaten() // whose beat came before or after the change of clock
			p.beaten()
			require.Equal(p, Process{first.ID, "api", "1.2.3", "dual", start.Add(BeatEvery).String(), start, start.Add(BeatEvery), nil}, p.self())

			p.stop()
			require.NoError(p, eventtest.Next(p, p.ended))
			last := p.self()
			require.Equal(p, start.Add(BeatEvery), *last.StoppedAt)
			require.False(p, last.Alive(p.clock.Now()))
			require.Empty(p, p.log.String())
		})
	})
	t.Run("is seen at once, and stops with its context", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			ctx, stop := context.WithCancel(context.Background())
			stop()
			clock := &handClock{now: start}
			one := New(Deps{DB: db, Clock: clock, Role: "api", Log: zerolog.Nop()})
			two := New(Deps{DB: db, Clock: clock, Role: "api", Log: zerolog.Nop()})
			require.NoError(t, one.Run(ctx))
			require.NoError(t, two.Run(ctx))
			found, err := List(context.Background(), db, start)
			require.NoError(t, err)
			require.Len(t, found, 2, "each start is a process")
			require.Equal(t, start, *found[0].StoppedAt)
		})
	})
	t.Run("does not wait for a report", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			ctx, stop := context.WithCancel(context.Background())
			stop()
			h := New(Deps{
				DB:    db,
				Clock: &handClock{now: start},
				Role:  "api",
				Log:   zerolog.Nop(),
				Report: func(ctx context.Context) string {
					<-ctx.Done() // as a database does that hangs
					return "late"
				},
			})
			require.NoError(t, h.Run(ctx))
			found, err := List(context.Background(), db, start)
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, []string{h.ID(), "late"}, []string{found[0].ID, found[0].Report})
		})
	})
	t.Run("outlives an outage of the database, logged once", func(t *testing.T) {
		t.Parallel()
		eachPulse(t, func(p *pulse) {
			p.beaten()
			exec(p.T, p.db, "ALTER TABLE processes RENAME TO gone")
			for range 3 {
				p.beaten()
			}
			exec(p.T, p.db, "ALTER TABLE gone RENAME TO processes")
			_, err := Purge(context.Background(), p.db, start.Add(time.Hour))
			require.NoError(p, err)
			for range 3 {
				p.beaten()
			}
			require.Equal(p, start, p.self().SeenAt, "and comes back, had it been forgotten")
			exec(p.T, p.db, "DROP TABLE processes")
			p.stop()
			require.NoError(p, eventtest.Next(p, p.ended), "the last write may fail like any other")
			require.Equal(p, 1, strings.Count(p.log.String(), "heartbeat recovered"), p.log.String())
			require.Equal(p, 2, strings.Count(p.log.String(), `"level":"warn"`), p.log.String())
		})
	})
}
