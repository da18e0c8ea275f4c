package app

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	ops "github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// follower is a consumer's part that follows the pauses of lanes.
type follower struct {
	*testing.T
	*App
	out bytes.Buffer
}

func eachFollower(t *testing.T, test func(f *follower)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		f := &follower{T: t}
		clock, err := startClock(t.Context(), db)
		require.NoError(t, err)
		in := &infra{db: db, tx: db, clock: clock, log: zerolog.New(&f.out)}
		f.App = &App{infra: in, started: clock.Now()}
		for _, queue := range []string{EmailQueue, InvitationQueue} {
			in.newLane(event.Queue{Name: queue})
		}
		test(f)
	})
}

func (f *follower) as(operator string) context.Context {
	return audit.WithOrigin(f.Context(), audit.Origin{Operator: operator})
}

// by returns who has paused each lane, as this process has it.
func (f *follower) by() (names []string) {
	for _, lane := range f.lanes {
		name := "–"
		if h := lane.State().Halt; h != nil {
			name = h.By
		}
		require.Equal(f, name != "–", lane.IsPaused())
		names = append(names, name)
	}
	return names
}

func TestFollowPauses(t *testing.T) {
	t.Parallel()
	eachFollower(t, func(f *follower) {
		lanes := newLanes(f.db, f.tx, f.clock)
		rename := func(from, to string) {
			f.Helper()
			_, err := f.db.Exec(f.Context(), "renaming", "ALTER TABLE "+from+" RENAME TO "+to)
			require.NoError(f, err)
		}
		rename("lane_pauses", "away")
		f.readPauses(f.Context())
		require.Equal(f, []string{"", ""}, f.by(), "what nobody could read yet may be paused")
		rename("away", "lane_pauses")
		f.readPauses(f.Context())
		require.Equal(f, []string{"–", "–"}, f.by())

		_, err := lanes.Pause(f.as("an"), EmailQueue, "the server moves")
		require.NoError(f, err)
		for range 2 {
			f.readPauses(f.Context())
			require.Equal(f, []string{"an", "–"}, f.by())
		}
		require.Equal(f, 1, bytes.Count(f.out.Bytes(), []byte("paused by an operator")), f.out.String())

		rename("lane_pauses", "away")
		for range 2 {
			f.readPauses(f.Context())
			require.Equal(f, []string{"an", "–"}, f.by(), "what was known last holds")
		}
		require.Equal(f, 2, bytes.Count(f.out.Bytes(), []byte("cannot be read")), "once for each outage")
		rename("away", "lane_pauses")

		_, err = lanes.Resume(f.as("binh"), EmailQueue)
		require.NoError(f, err)
		f.readPauses(f.Context())
		require.Equal(f, []string{"–", "–"}, f.by())
		require.Contains(f, f.out.String(), "resumed by an operator")
	})
}

// One of two that pause at the same time is told of the other.
func TestPauseAtTheSameTime(t *testing.T) {
	t.Parallel()
	eachFollower(t, func(f *follower) {
		lanes, ended := newLanes(f.db, f.tx, f.clock), make(chan error)
		for _, name := range []string{"an", "binh"} {
			go func() {
				_, err := lanes.Pause(f.as(name), EmailQueue, "")
				ended <- err
			}()
		}
		first, second := <-ended, <-ended
		if first == nil {
			first, second = second, first
		}
		require.NoError(f, second)
		require.ErrorIs(f, first, ops.ErrPaused)
		var entries int
		require.NoError(f, f.db.Conn(f.Context()).QueryRowContext(f.Context(),
			"SELECT count(*) FROM audit_entries WHERE action = 'lane.paused'").Scan(&entries))
		require.Equal(f, 1, entries)
	})
}

// TestPausedStandalone checks that the standalone honours the pause of a lane as servers do.
func TestPausedStandalone(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	lanes, err := NewLanes(t.Context(), config.Config{}, p.db)
	require.NoError(t, err)
	require.NoError(t, lanes.Pause(t.Context(), "an", EmailQueue, "a test"))
	require.ErrorIs(t, lanes.Pause(t.Context(), "binh", EmailQueue, ""), ops.ErrPaused)
	halted := func(want bool) {
		t.Helper()
		require.Eventually(t, func() bool { return p.lanes[0].State().Halt != nil == want }, time.Minute, 10*time.Millisecond)
	}
	halted(true)
	const email = "cho@example.com"
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": "a long enough one"})
	p.eventually(t, 0, "SELECT count(*) FROM outbox")
	require.Equal(t, 1, p.number(t, "SELECT count(*) FROM mail_deliveries WHERE state = 'owed' AND attempts = 0"))
	require.Empty(t, p.Inbox().Messages(email))

	all, err := lanes.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, len(mailQueues))
	require.Contains(t, all[0].String(), "paused by an since ")

	was, err := lanes.Resume(t.Context(), "binh", EmailQueue)
	require.NoError(t, err)
	require.Equal(t, "an", was.By)
	_, err = p.Inbox().Wait(t.Context(), email, 1)
	require.NoError(t, err)
	halted(false)
}
