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

func TestTheLastItemCrossesTheLine(t *testing.T) {
	each(t, func(s suite) {
		s.init(owner, 2)
		require.False(s, s.mark(ok("a")).Crossed)
		change := s.mark(failed("b"))
		require.Equal(s, project.Change{
			Progress: project.Progress{ProjectID: s.id, Status: project.StatusDone, Total: 2, Done: 2, Errors: 1},
			Owner:    owner, Crossed: true, Unsignalled: true,
		}, change)
		require.Equal(s, "DONE", s.hash()["status"])

		// A repetition says that nobody has announced it yet, whoever asks, until somebody has.
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
}

func TestRepairAfterDone(t *testing.T) {
	each(t, func(s suite) {
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
		require.EqualValues(s, 3, change.Done, "a new one counts")
		require.False(s, change.Crossed || change.Unsignalled)
		require.False(s, s.open())
	})
}

func TestRefusedChangesNothing(t *testing.T) {
	each(t, func(s suite) {
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
}

// Whatever comes last crosses the line.
func TestWhatCrossesTheLine(t *testing.T) {
	for name, last := range map[string]struct {
		before func(s suite)
		cross  func(s suite) project.Change
	}{
		"a late total": {
			func(s suite) { s.mark(ok("a"), ok("b"), ok("c")) },
			func(s suite) project.Change { return s.setTotal(3, true) },
		},
		"a total that is lowered below what is done": {
			func(s suite) { s.setTotal(9, true); s.mark(ok("a"), ok("b"), ok("c")) },
			func(s suite) project.Change { return s.setTotal(2, true) },
		},
		"the total becomes final": {
			func(s suite) { s.setTotal(2, false); s.mark(ok("a"), ok("b")) },
			func(s suite) project.Change { return s.setTotal(2, true) },
		},
		"init knows the total": {
			func(s suite) { s.mark(ok("a"), ok("b")) },
			func(s suite) project.Change { return s.init(owner, 2) },
		},
		"a neighbour's total, seen by the sweeper": {
			func(s suite) { s.mark(ok("a"), ok("b")); s.write("total", "2") },
			func(s suite) project.Change { return s.check() },
		},
		"a neighbour's total, seen by init": {
			func(s suite) { s.mark(ok("a"), ok("b")); s.write("total", "2") },
			func(s suite) project.Change { return s.init(owner, 0) },
		},
		"a neighbour's total, seen with a known item": {
			func(s suite) { s.mark(ok("a"), ok("b")); s.write("total", "2") },
			func(s suite) project.Change { return s.mark(ok("a")) },
		},
		"a neighbour's counts": {
			func(s suite) { s.mark(ok("a")); s.write("total", "5", "done", "5", "errors", "1") },
			func(s suite) project.Change { return s.check() },
		},
		"a status we do not know": {
			func(s suite) { s.write("status", "ANALYZING", "total", "1") },
			func(s suite) project.Change { return s.mark(ok("a")) },
		},
		"no status at all": {
			func(s suite) { s.mark(ok("a")); s.client.HDel(ctx, redisdb.Key(s.id), "status") },
			func(s suite) project.Change { return s.setTotal(1, true) },
		},
		"the neighbour's waiting": {
			func(s suite) { s.write("status", "PROCESSING_WAIT", "total", "1") },
			func(s suite) project.Change { return s.mark(ok("a")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(s suite) {
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
		})
	}
}

func TestWhatDoesNotCrossTheLine(t *testing.T) {
	for name, before := range map[string]func(s suite){
		"no total":                             func(s suite) { s.setTotal(0, true); s.mark(ok("a")) },
		"a total that is no number":            func(s suite) { s.write("total", "1e0"); s.mark(ok("a")) },
		"a negative total":                     func(s suite) { s.write("total", "-1"); s.mark(ok("a")) },
		"one item is missing":                  func(s suite) { s.setTotal(2, true); s.mark(ok("a")); s.mark(ok("a")) },
		"items are still being found":          func(s suite) { s.setTotal(1, false); s.mark(ok("a"), ok("b")) },
		"a neighbour is still finding items":   func(s suite) { s.write("status", "CRAWLING", "total", "1"); s.mark(ok("a")) },
		"it was given up before its last item": func(s suite) { s.setTotal(1, true); s.fail("why"); s.mark(ok("a")) },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(s suite) {
				s.init(owner, 0)
				before(s)
				for _, change := range []project.Change{s.check(), s.init(owner, 0)} {
					require.False(s, change.Crossed || change.Unsignalled)
					require.NotEqual(s, project.StatusDone, change.Status)
				}
			})
		})
	}
}

// Only what we have counted is announced by us: a neighbour may finish projects of his own.
func TestProjectsWeNeverCountedAreNotOurs(t *testing.T) {
	each(t, func(s suite) {
		s.init(owner, 2)
		s.write("done", "2")
		change := s.check()
		require.True(s, change.Crossed)
		require.False(s, change.Unsignalled)
		require.False(s, s.mark(ok("a")).Unsignalled, "it was done before we counted")
		require.False(s, s.open())
	})
	t.Run("a neighbour writes DONE", func(t *testing.T) {
		each(t, func(s suite) {
			s.init(owner, 5)
			s.mark(ok("a"))
			s.write("status", "DONE")
			change := s.check()
			require.False(s, change.Crossed)
			require.True(s, change.Unsignalled, "we have counted it")
		})
	})
}

func TestAHundredWorkersCrossOnce(t *testing.T) {
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
		t.Run(name, func(t *testing.T) {
			each(t, func(s suite) {
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
				var rest []project.Item // whatever the strides have left out
				for i := range n {
					rest = append(rest, ok(itemID(i)))
				}
				saw(s.store.Mark(ctx, s.id, rest))
				require.EqualValues(s, 1, crossed.Load())
				require.Positive(s, unsignalled.Load())
				require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusDone, Total: n, Done: n}, s.progress())
				require.True(s, s.check().Unsignalled)
			})
		})
	}
}

func TestOpenProjects(t *testing.T) {
	each(t, func(s suite) {
		if !s.alone {
			// Others work on the same set. By a score from long ago ours comes first.
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
		require.Equal(s, []string{"p0", "p1", "p2", "p3", "p4"}, s.openProjects(time.Minute, 100), "those touched longest ago first")
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
		_, err = s.store.Check(ctx, "p3") // its life has ended
		require.NoError(s, err)
		require.Equal(s, []string{"p4"}, s.openProjects(time.Minute, 100))
		require.ElementsMatch(s, []string{"p0", "p1", "p4"}, s.openProjects(0, 100))
	})
}

func TestDoneButNotSignalledIsTouched(t *testing.T) {
	each(t, func(s suite) {
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
}

// touchedAt makes it long ago that the project was marked: at a millisecond by the open projects, and, since a mark
// repeats none of it within a second, a minute by the keys.
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

// Right after a mark, the next one only counts. Whatever takes the project out of those that we count ends that.
func TestRightAfterAMark(t *testing.T) {
	for name, between := range map[string]func(s suite){
		"nothing":                    func(suite) {},
		"it was taken for announced": suite.signalled,
		"the hash was lost": func(s suite) {
			s.client.Del(ctx, redisdb.Key(s.id))
			s.check()
			s.write("status", "PROCESSING", "done", "1")
			s.expire(life, redisdb.Key(s.id))
		},
		"a neighbour failed and resumed":  func(s suite) { s.write("status", "FAILED"); s.check(); s.write("status", "PROCESSING") },
		"a neighbour gave it a long life": func(s suite) { s.expire(3*life, redisdb.Key(s.id)); s.signalled(); s.check() },
		"a neighbour shortened its life":  func(s suite) { s.expire(time.Hour, redisdb.Key(s.id)) },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(s suite) {
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
					require.GreaterOrEqual(s, left, min(hash, life), "a set dies before the hash")
				}
				if name != "a neighbour gave it a long life" {
					s.lives(life, s.keys()...)
				}
			})
		})
	}
}
