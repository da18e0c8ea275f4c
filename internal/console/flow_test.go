package console_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/console"
)

// ticking returns a time that goes on by a second each time it is asked for.
func ticking() func() time.Time {
	var mu sync.Mutex
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	fact := console.Fact{ID: "evt_1", Key: "email.verification.requested", Trace: "abc"}

	t.Run("keeps the steps of an event in their order", func(t *testing.T) {
		t.Parallel()
		r := console.NewRecorder(ticking())
		r.Record(fact, console.Outbox, "row committed")
		r.Record(console.Fact{ID: "evt_2", Key: "user.verified"}, console.Outbox, "row committed")
		r.Record(fact, console.Exchange, "smap.events")
		end := r.Begin(fact, "identity.email")
		ctx := console.With(t.Context(), fact)
		r.Effect(ctx, "mail")
		r.Effect(ctx, "mail")
		end("retry", true, time.Minute)
		end = r.Begin(fact, "identity.email")

		paths, newest, changed := r.Since(0)
		require.Len(t, paths, 2)
		require.Equal(t, fact, paths[0].Fact)
		require.Equal(t, []uint64{1, 2}, []uint64{paths[0].Number, paths[1].Number})
		var stages []console.Stage
		for _, s := range paths[0].Steps {
			stages = append(stages, s.Stage)
		}
		require.Equal(t, []console.Stage{
			console.Outbox, console.Exchange, console.Handler, console.Effect, console.Handler,
		}, stages)
		handlers := paths[0].At(console.Handler)
		require.Equal(t, []string{"retry", ""}, []string{handlers[0].Outcome, handlers[1].Outcome})
		require.True(t, handlers[0].Failed)
		require.Equal(t, time.Minute, handlers[0].Took)
		require.Equal(t, 2, paths[0].At(console.Effect)[0].Times)

		end("handled", false, time.Second)
		<-changed
		paths, _, _ = r.Since(newest)
		require.Len(t, paths, 1, "only what has changed")
		require.Equal(t, "handled", paths[0].At(console.Handler)[1].Outcome)
	})

	t.Run("keeps the newest paths, and as much of one as is readable", func(t *testing.T) {
		t.Parallel()
		r := console.NewRecorder(ticking())
		long := strings.Repeat("ü", 5000)
		for i := range 1000 {
			r.Record(console.Fact{ID: fmt.Sprint("evt_", i), Key: long, Trace: long}, console.Outbox, long)
		}
		for i := range 1000 {
			r.Record(console.Fact{ID: "evt_999"}, console.Queue, fmt.Sprint(i))
		}
		paths, _, _ := r.Since(0)
		require.Len(t, paths, 200)
		require.Equal(t, "evt_800", paths[0].ID)
		require.Len(t, paths[199].Steps, 64)
		require.Equal(t, 1001-64, paths[199].More)
		require.LessOrEqual(t, len(paths[0].Key)+len(paths[0].Trace)+len(paths[0].Steps[0].Where), 3*(2*120+len("…")))
	})

	t.Run("records no effect without an event, and nothing where there is no recorder", func(t *testing.T) {
		t.Parallel()
		r := console.NewRecorder(ticking())
		r.Effect(t.Context(), "database")
		r.Record(console.Fact{}, console.Outbox, "x")
		paths, _, _ := r.Since(0)
		require.Empty(t, paths)

		var none *console.Recorder
		none.Record(fact, console.Outbox, "x")
		none.Effect(console.With(t.Context(), fact), "x")
		none.Begin(fact, "x")("handled", false, 0)
	})

	t.Run("serves many writers and readers", func(t *testing.T) {
		t.Parallel()
		r := console.NewRecorder(ticking())
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				f := console.Fact{ID: fmt.Sprint("evt_", i)}
				for range 50 {
					r.Record(f, console.Queue, "q")
					r.Begin(f, "q")("handled", false, 0)
					paths, _, _ := r.Since(0)
					for _, p := range paths {
						p.Steps[0].Where = "a copy"
					}
				}
			})
		}
		all.Wait()
		paths, _, _ := r.Since(0)
		require.Len(t, paths, 8)
		require.Equal(t, "q", paths[0].Steps[0].Where)
	})
}
