package redisdb_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
)

func TestKey(t *testing.T) {
	t.Parallel()
	t.Run("names the keys", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []string{"smap:proj:p1", "smap:proj:p1:items", "smap:proj:p1:failed", "smap:user:p1"}, allKeys("p1"))
		require.Equal(t, "identity:open-projects", redisdb.OpenKey)
	})
}

func TestInit(t *testing.T) {
	t.Parallel()
	each(t, "creates a project", func(s suite) {
		change := s.init(owner, 0)
		require.Equal(s, project.Change{
			Progress: project.Progress{ProjectID: s.id, Status: project.StatusInitializing}, Owner: owner,
		}, change)
		require.Equal(s, map[string]string{"status": "INITIALIZING", "total": "0", "done": "0", "errors": "0"}, s.hash())
		require.Equal(s, []string{redisdb.Key(s.id), redisdb.OwnerKey(s.id)}, s.keys())
		s.lives(life, s.keys()...)
		require.False(s, s.open(), "a project without marks is not open")
		require.Equal(s, change, s.init(owner, 0), "a repeat changes nothing")
	})
	each(t, "overwrites nothing", func(s suite) {
		s.init(owner, 5)
		require.Equal(s, "5", s.hash()["total"])
		s.mark(failed("a"))
		before := s.hash()
		s.expire(time.Hour, s.keys()...)
		change := s.init("another-user", 9)
		require.Equal(s, owner, change.Owner)
		require.False(s, change.Refused)
		require.Equal(s, before, s.hash())
		s.lives(life, s.keys()...)
	})
	each(t, "fills in missing fields", func(s suite) {
		s.init("", 0)
		require.Equal(s, []string{redisdb.Key(s.id)}, s.keys(), "an unknown owner is not stored")
		change := s.init(owner, 3)
		require.Equal(s, owner, change.Owner)
		require.EqualValues(s, 3, change.Total, "0 means unknown")
		require.EqualValues(s, 3, s.init("", 0).Total)

		s.write("status", "CRAWLING", "done", "7")
		require.NoError(s, s.client.HDel(ctx, redisdb.Key(s.id), "errors", "total").Err())
		s.init(owner, 0)
		require.Equal(s, map[string]string{"status": "CRAWLING", "total": "0", "done": "7", "errors": "0"}, s.hash())
	})
	// If the counters started at 0, the items in the sets would never count again.
	each(t, "starts from the sets if the hash was lost", func(s suite) {
		s.init(owner, 3)
		s.mark(ok("a"), failed("b"))
		require.NoError(s, s.client.Del(ctx, redisdb.Key(s.id)).Err())
		change := s.init(owner, 3)
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusInitializing, Total: 3, Done: 2, Errors: 1}, change.Progress)
		require.True(s, s.mark(ok("a"), ok("c")).Unsignalled)
	})
	t.Run("refuses a total for a final project", func(t *testing.T) {
		t.Parallel()
		for _, status := range []string{"DONE", "FAILED"} {
			each(t, status, func(s suite) {
				s.write("status", status)
				change := s.init(owner, 3)
				require.True(s, change.Refused)
				require.Equal(s, owner, change.Owner)
				require.Equal(s, map[string]string{"status": status, "total": "0", "done": "0", "errors": "0"}, s.hash())
				require.False(s, s.init(owner, 0).Refused)
			})
		}
	})
}

func TestMissingProject(t *testing.T) {
	t.Parallel()
	each(t, "is not created by any other operation", func(s suite) {
		missing := project.Change{Progress: project.Progress{ProjectID: s.id, Status: project.StatusNotFound}}
		require.Equal(s, missing, s.setTotal(5, true))
		require.Equal(s, missing, s.mark(ok("a")))
		require.Equal(s, missing, s.mark(ok("a"), failed("b")))
		require.Equal(s, missing, s.fail("no reason"))
		require.Equal(s, missing, s.check())
		s.signalled()
		require.NoError(s, s.store.Forget(ctx, s.id))
		require.Equal(s, missing.Progress, s.progress())
		require.False(s, missing.Found())
		require.Empty(s, s.keys())
		require.False(s, s.open())
	})
}

func TestSetTotal(t *testing.T) {
	t.Parallel()
	each(t, "stores the total and the status", func(s suite) {
		s.init(owner, 0)
		s.mark(ok("a"))
		change := s.setTotal(4, false)
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusCrawling, Total: 4, Done: 1}, change.Progress)
		require.Equal(s, owner, change.Owner)
		require.Equal(s, change, s.setTotal(4, false), "a repeat changes nothing")
		require.Equal(s, project.StatusProcessing, s.setTotal(6, true).Status, "raised")
		require.Equal(s, project.StatusCrawling, s.setTotal(7, false).Status, "more items after all")
		require.EqualValues(s, 2, s.setTotal(2, true).Total, "lowered")
		s.expire(time.Hour, s.keys()...)
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusProcessing, Done: 1}, s.setTotal(0, true).Progress)
		s.lives(life, s.keys()...)
		require.Equal(s, map[string]string{"status": "PROCESSING", "total": "0", "done": "1", "errors": "0"}, s.hash())

		const most = 1<<53 - 1
		require.EqualValues(s, most, s.setTotal(most, true).Total)
		require.Equal(s, "9007199254740991", s.hash()["total"])
		require.EqualValues(s, most, s.progress().Total)
	})
}

func TestMark(t *testing.T) {
	t.Parallel()
	each(t, "counts an item once", func(s suite) {
		counts := func(done, errors int64, c project.Change) {
			s.Helper()
			require.Equal(s, []int64{done, errors}, []int64{c.Done, c.Errors})
			require.Equal(s, c.Progress, s.progress())
		}
		s.init(owner, 100)
		counts(1, 0, s.mark(ok("a")))
		counts(1, 0, s.mark(ok("a")))
		counts(2, 1, s.mark(failed("b")))
		counts(2, 1, s.mark(failed("b")))
		counts(2, 1, s.mark(failed("a"))) // ok wins
		counts(2, 0, s.mark(ok("b")))     // repaired
		counts(2, 0, s.mark(ok("b")))
		counts(2, 0, s.mark(failed("b"))) // ok wins

		counts(5, 2, s.mark(ok("c"), failed("d"), failed("e")))
		counts(7, 2, s.mark(ok("a"), failed("f"), ok("d"), ok("g"), failed("c"), failed("e")))
		counts(8, 2, s.mark(failed("h"), ok("h"), ok("h"), failed("h"))) // once per call too
		counts(9, 3, s.mark(failed("i"), failed("i")))
		counts(9, 0, s.mark(ok("e"), ok("f"), ok("i")))
		require.Equal(s, project.StatusInitializing, s.progress().Status)
	})
	each(t, "counts 1,000 items in one call", func(s suite) {
		s.init(owner, 0)
		var all, other []project.Item
		for i := range project.MaxItems {
			all = append(all, project.Item{ID: itemID(i), Failed: i%2 == 1})
			other = append(other, project.Item{ID: itemID(i), Failed: i%2 == 0})
		}
		for range 2 {
			change := s.mark(all...)
			require.EqualValues(s, []int64{1000, 500}, []int64{change.Done, change.Errors})
		}
		change := s.mark(other...)
		require.EqualValues(s, []int64{1000, 0}, []int64{change.Done, change.Errors})
		require.EqualValues(s, 1000, s.progress().Done)
	})
}

func TestFail(t *testing.T) {
	t.Parallel()
	each(t, "keeps the first reason and counts on", func(s suite) {
		s.init(owner, 2)
		s.mark(ok("a"))
		require.True(s, s.open())
		s.expire(time.Hour, s.keys()...)
		change := s.fail("the collector has no quota")
		require.Equal(s, project.Change{
			Progress: project.Progress{ProjectID: s.id, Status: project.StatusFailed, Total: 2, Done: 1}, Owner: owner,
		}, change)
		s.lives(life, s.keys()...)
		require.False(s, s.open(), "it will have no job.completed")
		require.Equal(s, change, s.fail("another"), "a repeat changes nothing")
		require.Equal(s, "the collector has no quota", s.hash()["failed_reason"], "the first reason stays")

		change = s.mark(ok("b"), failed("c"))
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusFailed, Total: 2, Done: 3, Errors: 1}, change.Progress)
		require.False(s, change.Crossed || change.Unsignalled || change.Refused)
		require.False(s, s.open())
		require.True(s, s.setTotal(3, true).Refused)
		require.False(s, s.setTotal(2, true).Refused, "nothing would change")
		require.Equal(s, project.StatusFailed, s.init(owner, 3).Status)
		require.EqualValues(s, 2, s.check().Total)
	})
	each(t, "closes a project that another service failed", func(s suite) {
		s.init(owner, 2)
		s.mark(ok("a"))
		s.write("status", "FAILED")
		require.Equal(s, project.StatusFailed, s.check().Status)
		require.False(s, s.open())
		s.fail("given later")
		require.Equal(s, "given later", s.hash()["failed_reason"])
		s.write("status", "PROCESSING") // and resumed
		s.fail("again")
		require.Equal(s, "again", s.hash()["failed_reason"])
	})
}

func TestForget(t *testing.T) {
	t.Parallel()
	each(t, "deletes the project", func(s suite) {
		s.init(owner, 3)
		s.mark(ok("a"), failed("b"))
		require.Len(s, s.keys(), 4)
		_, found, err := s.store.Progress(ctx, s.id)
		require.NoError(s, err)
		require.Equal(s, owner, found)
		for range 2 {
			require.NoError(s, s.store.Forget(ctx, s.id))
			require.Empty(s, s.keys())
			require.False(s, s.open())
		}
		_, found, err = s.store.Progress(ctx, s.id)
		require.NoError(s, err)
		require.Empty(s, found)
		require.False(s, s.mark(ok("a")).Found())
		require.Zero(s, s.init("another-user", 0).Done)
		require.EqualValues(s, 1, s.mark(ok("a")).Done, "counting starts at 0")
	})
}
