package redisdb_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
)

func itemID(i int) string { return fmt.Sprintf("item-%d", i) }

func TestFinishLine(t *testing.T) {
	t.Parallel()
	each(t, "is crossed by the last item once", func(s suite) {
		s.init(owner, 2)
		require.False(s, s.mark(ok("a")).Crossed)
		change := s.mark(failed("b"))
		require.Equal(s, project.Change{
			Progress: project.Progress{ProjectID: s.id, Status: project.StatusDone, Total: 2, Done: 2, Errors: 1},
			Owner:    owner, Crossed: true, Unsignalled: true,
		}, change)
		require.Equal(s, "DONE", s.hash()["status"])

		// Every operation reports Unsignalled until the project is signalled.
		change.Crossed = false
		for range 2 {
			require.Equal(s, change, s.mark(failed("b")))
			require.Equal(s, change, s.check())
			require.Equal(s, change, s.init(owner, 2))
			require.Equal(s, change, s.setTotal(2, true))
		}
		refused := change
		refused.Refused = true
		require.Equal(s, refused, s.setTotal(3, true))
		require.Equal(s, refused, s.fail("too late"))

		s.signalled()
		s.signalled()
		change.Unsignalled, refused.Unsignalled = false, false
		require.Equal(s, change, s.check())
		require.Equal(s, refused, s.setTotal(3, true))
		require.Equal(s, change, s.mark(failed("b")))
		require.False(s, s.open())
	})
	each(t, "is not crossed again by a repair", func(s suite) {
		s.init(owner, 2)
		s.mark(failed("a"), failed("b"))
		s.expire(time.Hour, s.keys()...)
		change := s.mark(ok("a"))
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusDone, Total: 2, Done: 2, Errors: 1}, change.Progress)
		require.False(s, change.Crossed)
		require.True(s, change.Unsignalled)
		s.lives(life, s.keys()...)
		s.signalled()
		change = s.mark(ok("b"))
		require.Zero(s, change.Errors)
		require.False(s, change.Crossed || change.Unsignalled)
		change = s.mark(ok("late"))
		require.EqualValues(s, 3, change.Done, "a new item counts")
		require.False(s, change.Crossed || change.Unsignalled)
		require.False(s, s.open())
	})
	each(t, "is not left", func(s suite) {
		s.init(owner, 1)
		s.mark(ok("a"))
		before := s.hash()
		s.expire(time.Hour, s.keys()...)
		for _, change := range []project.Change{s.setTotal(2, true), s.setTotal(0, false), s.fail("too late")} {
			require.True(s, change.Refused)
			require.Equal(s, owner, change.Owner)
			require.Equal(s, project.StatusDone, change.Status)
			require.EqualValues(s, 1, change.Total)
		}
		require.Equal(s, before, s.hash())
		s.lives(time.Hour, s.keys()...)
		require.False(s, s.setTotal(1, false).Refused, "nothing would change: DONE is not left")
		require.Equal(s, before, s.hash())
	})
	t.Run("is crossed by whatever comes last", func(t *testing.T) {
		t.Parallel()
		for name, last := range map[string]struct {
			before func(s suite)
			cross  func(s suite) project.Change
		}{
			"a late total": {
				func(s suite) { s.mark(ok("a"), ok("b"), ok("c")) },
				func(s suite) project.Change { return s.setTotal(3, true) },
			},
			"a total lowered below done": {
				func(s suite) { s.setTotal(9, true); s.mark(ok("a"), ok("b"), ok("c")) },
				func(s suite) project.Change { return s.setTotal(2, true) },
			},
			"the total becomes final": {
				func(s suite) { s.setTotal(2, false); s.mark(ok("a"), ok("b")) },
				func(s suite) project.Change { return s.setTotal(2, true) },
			},
			"a total from init": {
				func(s suite) { s.mark(ok("a"), ok("b")) },
				func(s suite) project.Change { return s.init(owner, 2) },
			},
			"a total of another service, seen by check": {
				func(s suite) { s.mark(ok("a"), ok("b")); s.write("total", "2") },
				func(s suite) project.Change { return s.check() },
			},
			"a total of another service, seen by init": {
				func(s suite) { s.mark(ok("a"), ok("b")); s.write("total", "2") },
				func(s suite) project.Change { return s.init(owner, 0) },
			},
			"a total of another service, seen with a known item": {
				func(s suite) { s.mark(ok("a"), ok("b")); s.write("total", "2") },
				func(s suite) project.Change { return s.mark(ok("a")) },
			},
			"the counts of another service": {
				func(s suite) { s.mark(ok("a")); s.write("total", "5", "done", "5", "errors", "1") },
				func(s suite) project.Change { return s.check() },
			},
			"an unknown status": {
				func(s suite) { s.write("status", "ANALYZING", "total", "1") },
				func(s suite) project.Change { return s.mark(ok("a")) },
			},
			"no status": {
				func(s suite) { s.mark(ok("a")); s.client.HDel(ctx, redisdb.Key(s.id), "status") },
				func(s suite) project.Change { return s.setTotal(1, true) },
			},
			"PROCESSING_WAIT": {
				func(s suite) { s.write("status", "PROCESSING_WAIT", "total", "1") },
				func(s suite) project.Change { return s.mark(ok("a")) },
			},
		} {
			each(t, name, func(s suite) {
				s.init(owner, 0)
				last.before(s)
				require.NotEqual(s, "DONE", s.hash()["status"])
				change := last.cross(s)
				require.True(s, change.Crossed)
				require.True(s, change.Unsignalled)
				require.Equal(s, project.StatusDone, change.Status)
				require.Equal(s, "DONE", s.hash()["status"])
				require.False(s, s.check().Crossed)
			})
		}
	})
	t.Run("is not crossed early", func(t *testing.T) {
		t.Parallel()
		for name, before := range map[string]func(s suite){
			"no total":                               func(s suite) { s.setTotal(0, true); s.mark(ok("a")) },
			"an invalid total":                       func(s suite) { s.write("total", "1e0"); s.mark(ok("a")) },
			"a negative total":                       func(s suite) { s.write("total", "-1"); s.mark(ok("a")) },
			"one item is missing":                    func(s suite) { s.setTotal(2, true); s.mark(ok("a")); s.mark(ok("a")) },
			"items are still being found":            func(s suite) { s.setTotal(1, false); s.mark(ok("a"), ok("b")) },
			"another service is still finding items": func(s suite) { s.write("status", "CRAWLING", "total", "1"); s.mark(ok("a")) },
			"failed before the last item":            func(s suite) { s.setTotal(1, true); s.fail("why"); s.mark(ok("a")) },
		} {
			each(t, name, func(s suite) {
				s.init(owner, 0)
				before(s)
				for _, change := range []project.Change{s.check(), s.init(owner, 0)} {
					require.False(s, change.Crossed || change.Unsignalled)
					require.NotEqual(s, project.StatusDone, change.Status)
				}
			})
		}
	})
	// This service announces only what it counts: other services finish projects of their own.
	each(t, "opens no project of another service", func(s suite) {
		s.init(owner, 2)
		s.write("done", "2")
		change := s.check()
		require.True(s, change.Crossed)
		require.False(s, change.Unsignalled)
		require.False(s, s.mark(ok("a")).Unsignalled, "it was done before the first mark")
		require.False(s, s.open())
	})
	each(t, "opens a counted project that another service finished", func(s suite) {
		s.init(owner, 5)
		s.mark(ok("a"))
		s.write("status", "DONE")
		change := s.check()
		require.False(s, change.Crossed)
		require.True(s, change.Unsignalled, "it was counted here")
	})
	t.Run("is crossed once by a hundred workers", func(t *testing.T) {
		t.Parallel()
		const workers, perWorker, n = 100, 12, 300
		for name, totals := range map[string][]struct {
			total int64
			final bool
		}{
			"known":   {{n, true}, {n, true}},
			"late":    {{0, true}, {0, false}, {n, true}},
			"raised":  {{10, false}, {n / 2, false}, {n, true}, {n, true}},
			"lowered": {{2 * n, true}, {n + 1, true}, {n, true}},
		} {
			each(t, name, func(s suite) {
				s.init(owner, 0)
				start := make(chan struct{})
				var crossed, unsignalled atomic.Int64
				var wg sync.WaitGroup
				saw := func(change project.Change, err error) {
					if err != nil || change.Refused || !change.Found() {
						s.Errorf("%+v, %v", change, err)
					}
					if change.Crossed {
						crossed.Add(1)
					}
					if change.Unsignalled {
						unsignalled.Add(1)
					}
				}
				for w := range workers {
					wg.Go(func() {
						<-start
						for i := range perWorker { // every item is marked four times
							saw(s.store.Mark(ctx, s.id, []project.Item{{ID: itemID((w*perWorker + i*7) % n), Failed: rand.IntN(3) == 0}}))
						}
					})
				}
				wg.Go(func() {
					<-start
					for _, total := range totals {
						saw(s.store.SetTotal(ctx, s.id, total.total, total.final))
						saw(s.store.Init(ctx, s.id, owner, 0))
						saw(s.store.Check(ctx, s.id))
					}
				})
				close(start)
				wg.Wait()
				var rest []project.Item // that the strides left out
				for i := range n {
					rest = append(rest, ok(itemID(i)))
				}
				saw(s.store.Mark(ctx, s.id, rest))
				require.EqualValues(s, 1, crossed.Load())
				require.Positive(s, unsignalled.Load())
				require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusDone, Total: n, Done: n}, s.progress())
				require.True(s, s.check().Unsignalled)
			})
		}
	})
}

// A key that holds something else cannot be checked. It must not stay in front of all others.
func TestPostpone(t *testing.T) {
	t.Parallel()
	each(t, "moves a project to the end, whatever its keys hold", func(s suite) {
		s.init(owner, 2)
		s.mark(ok("a"))
		s.touchedAt(s.id, -1)
		require.NoError(s, s.client.Set(ctx, redisdb.Key(s.id), "x", time.Minute).Err())
		_, err := s.store.Check(ctx, s.id)
		require.ErrorIs(s, err, project.ErrUnavailable)
		require.ErrorContains(s, err, redisdb.Key(s.id), "the key is named")
		require.Contains(s, s.openProjects(time.Hour, 1000), s.id)

		require.NoError(s, s.store.Postpone(ctx, s.id))
		require.NotContains(s, s.openProjects(time.Hour, 1000), s.id)
		require.Contains(s, s.openProjects(0, 1000), s.id, "it is still open")

		require.NoError(s, s.store.Postpone(ctx, s.id+"-closed"))
		require.NotContains(s, s.openProjects(0, 1000), s.id+"-closed")
	})
}

func TestListOpen(t *testing.T) {
	t.Parallel()
	each(t, "lists the least recently touched first", func(s suite) {
		if !s.alone {
			// Others use the same set. A score from long ago puts ours first.
			s.init(owner, 2)
			s.mark(ok("a"))
			s.touchedAt(s.id, -1)
			require.Equal(s, []string{s.id}, s.openProjects(time.Hour, 1))
			s.check()
			require.NotContains(s, s.openProjects(time.Hour, 1000), s.id)
			return
		}
		require.Empty(s, s.openProjects(0, 100))
		now := time.Now().UnixMilli()
		for i := range 5 {
			id := fmt.Sprintf("p%d", i)
			_, err := s.store.Init(ctx, id, owner, 2)
			require.NoError(s, err)
			_, err = s.store.Mark(ctx, id, []project.Item{ok("a")})
			require.NoError(s, err)
			s.touchedAt(id, now-int64(10-i)*60_000)
		}
		require.Equal(s, []string{"p0", "p1", "p2", "p3", "p4"}, s.openProjects(time.Minute, 100), "least recently touched first")
		require.Equal(s, []string{"p0", "p1"}, s.openProjects(0, 2))
		require.Equal(s, []string{"p0", "p1", "p2"}, s.openProjects(7*time.Minute+30*time.Second, 100))
		require.Empty(s, s.openProjects(time.Hour, 100))
		require.Empty(s, s.openProjects(0, 0))
		require.Empty(s, s.openProjects(0, -1))

		_, err := s.store.Check(ctx, "p0") // so that the sweeper goes round
		require.NoError(s, err)
		_, err = s.store.Mark(ctx, "p1", []project.Item{ok("a")})
		require.NoError(s, err)
		require.NoError(s, s.store.MarkSignalled(ctx, "p2"))
		require.NoError(s, s.client.Del(ctx, redisdb.Key("p3")).Err())
		require.Equal(s, []string{"p3", "p4"}, s.openProjects(time.Minute, 100))
		_, err = s.store.Check(ctx, "p3") // it expired
		require.NoError(s, err)
		require.Equal(s, []string{"p4"}, s.openProjects(time.Minute, 100))
		require.ElementsMatch(s, []string{"p0", "p1", "p4"}, s.openProjects(0, 100))
	})
	each(t, "touches a done project that is not signalled", func(s suite) {
		s.init(owner, 1)
		s.mark(ok("a"))
		for _, touch := range []func() project.Change{s.check, func() project.Change { return s.mark(ok("a")) }} {
			s.touchedAt(s.id, 1)
			require.True(s, touch().Unsignalled)
			score, err := s.client.ZScore(ctx, redisdb.OpenKey, s.id).Result()
			require.NoError(s, err)
			require.InDelta(s, float64(time.Now().UnixMilli()), score, 30_000)
		}
	})
	// Right after a mark, the next one only counts. Whatever removes the project from the open ones ends that.
	t.Run("lists a project again after a mark", func(t *testing.T) {
		t.Parallel()
		for name, between := range map[string]func(s suite){
			"nothing":          func(suite) {},
			"it was signalled": suite.signalled,
			"the hash was lost": func(s suite) {
				s.client.Del(ctx, redisdb.Key(s.id))
				s.check()
				s.write("status", "PROCESSING", "done", "1")
				s.expire(life, redisdb.Key(s.id))
			},
			"another service failed and resumed it":  func(s suite) { s.write("status", "FAILED"); s.check(); s.write("status", "PROCESSING") },
			"another service extended its lifetime":  func(s suite) { s.expire(3*life, redisdb.Key(s.id)); s.signalled(); s.check() },
			"another service shortened its lifetime": func(s suite) { s.expire(time.Hour, redisdb.Key(s.id)) },
		} {
			each(t, name, func(s suite) {
				s.init(owner, 9)
				s.mark(ok("a"))
				between(s)
				change := s.mark(failed("b"))
				require.EqualValues(s, []int64{2, 1}, []int64{change.Done, change.Errors})
				require.True(s, s.open())
				require.Len(s, s.keys(), 4)
				for _, set := range []string{redisdb.ItemsKey(s.id), redisdb.FailedKey(s.id)} {
					left, err := s.client.PTTL(ctx, set).Result()
					require.NoError(s, err)
					hash, err := s.client.PTTL(ctx, redisdb.Key(s.id)).Result()
					require.NoError(s, err)
					require.GreaterOrEqual(s, left, min(hash, life), "a set expires before the hash")
				}
				if name != "another service extended its lifetime" {
					s.lives(life, s.keys()...)
				}
			})
		}
	})
}

// touchedAt backdates the last touch of a project, in the open projects to milliseconds and in its keys by a minute: a
// second mark right after the first refreshes nothing.
func (s suite) touchedAt(id string, milliseconds int64) {
	s.Helper()
	require.NoError(s, s.client.ZAddXX(ctx, redisdb.OpenKey, goredis.Z{Member: id, Score: float64(milliseconds)}).Err())
	for _, key := range allKeys(id) {
		require.NoError(s, s.client.Expire(ctx, key, life-time.Minute).Err())
	}
}

func (s suite) openProjects(idle time.Duration, limit int) []string {
	s.Helper()
	ids, err := s.store.ListOpen(ctx, idle, limit)
	require.NoError(s, err)
	return ids
}
