package redisdb_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
)

func TestSharedHash(t *testing.T) {
	t.Parallel()
	each(t, "keeps the fields of other services", func(s suite) {
		theirs := map[string]string{"crawl_total": "9", "analyze_errors": "x", "tasks_done": "", "note": "theirs"}
		for field, value := range theirs {
			s.write(field, value)
		}
		// A hash without our fields is a project too.
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusInitializing, Total: 9}, s.progress())
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusInitializing, Total: 9}, s.check().Progress)
		require.Equal(s, theirs, s.hash())

		s.init(owner, 3)
		s.mark(ok("a"), failed("b"))
		s.setTotal(2, false)
		s.check()
		s.setTotal(2, true)
		s.fail("too late")
		want := maps.Clone(theirs)
		maps.Copy(want, map[string]string{"status": "DONE", "total": "2", "done": "2", "errors": "1"})
		require.Equal(s, want, s.hash())
	})
	each(t, "may lack fields", func(s suite) {
		s.write("crawl_total", "0")
		change := s.mark(failed("a"))
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusInitializing, Done: 1, Errors: 1}, change.Progress)
		require.Equal(s, map[string]string{"crawl_total": "0", "done": "1", "errors": "1"}, s.hash())
		require.Empty(s, change.Owner)
		s.init(owner, 2)
		require.Equal(s, map[string]string{
			"crawl_total": "0", "status": "INITIALIZING", "total": "2", "done": "1", "errors": "1",
		}, s.hash())
	})
	t.Run("reads an invalid number as 0", func(t *testing.T) {
		t.Parallel()
		for _, none := range []string{"", "many", "1.5", "-3", "0x10", " 7", "7 ", "1e3", "inf", "nan", "9007199254740992", "99999999999999999999"} {
			each(t, fmt.Sprintf("%q", none), func(s suite) {
				s.write("status", "PROCESSING", "total", none, "done", none, "errors", none)
				want := project.Progress{ProjectID: s.id, Status: project.StatusProcessing}
				require.Equal(s, want, s.progress())
				require.Equal(s, want, s.check().Progress)
				require.Equal(s, none, s.hash()["errors"], "a check repairs nothing")

				want.Done, want.Errors = 2, 1
				require.Equal(s, want, s.mark(ok("a"), failed("b")).Progress)
				want.Errors = 0
				require.Equal(s, want, s.mark(ok("b")).Progress)
				want.Total, want.Status = 2, project.StatusDone
				require.Equal(s, want, s.init(owner, 2).Progress, "an invalid total counts as unknown")
				require.Equal(s, map[string]string{"status": "DONE", "total": "2", "done": "2", "errors": "0"}, s.hash())
			})
		}
	})
	// Another service lowers errors: a repair does not make it negative.
	each(t, "never has negative errors", func(s suite) {
		s.init(owner, 9)
		s.mark(failed("a"), failed("b"))
		s.write("errors", "1")
		require.Zero(s, s.mark(ok("a"), ok("b")).Errors)
		require.Equal(s, "0", s.hash()["errors"])
	})
	t.Run("keeps the statuses of other services", func(t *testing.T) {
		t.Parallel()
		for stored, want := range map[string]struct {
			read         project.Status // by readers and in every reply
			crawl, start string         // stored after a total that is not final, and after one that is
		}{
			"":                {project.StatusInitializing, "CRAWLING", "PROCESSING"},
			"INITIALIZING":    {project.StatusInitializing, "CRAWLING", "PROCESSING"},
			"CRAWLING":        {project.StatusCrawling, "CRAWLING", "PROCESSING"},
			"PROCESSING":      {project.StatusProcessing, "CRAWLING", "PROCESSING"},
			"PROCESSING_WAIT": {project.StatusProcessing, "CRAWLING", "PROCESSING"},
			"ANALYZING":       {"ANALYZING", "ANALYZING", "ANALYZING"},
			"done":            {"done", "done", "done"},
			"FAILED":          {project.StatusFailed, "FAILED", "FAILED"},
			"DONE":            {project.StatusDone, "DONE", "DONE"},
		} {
			each(t, fmt.Sprintf("status %q", stored), func(s suite) {
				s.write("status", stored)
				require.Equal(s, want.read, s.progress().Status)
				require.Equal(s, want.read, s.check().Status)
				require.Equal(s, want.read, s.mark(ok("a")).Status)
				require.Equal(s, stored, s.hash()["status"], "counting does not change it")
				s.setTotal(9, false)
				require.Equal(s, want.crawl, s.hash()["status"])
				s.setTotal(9, true)
				require.Equal(s, want.start, s.hash()["status"])
				require.Equal(s, project.Status(want.start), s.progress().Status)
			})
		}
	})
	each(t, "gets a status if it is empty", func(s suite) {
		s.write("status", "")
		s.init(owner, 0)
		require.Equal(s, "INITIALIZING", s.hash()["status"])
	})
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	each(t, "is renewed on every key by a change", func(s suite) {
		s.init(owner, 9)
		s.mark(ok("a"), failed("b"))
		require.Len(s, s.keys(), 4)
		for name, change := range map[string]func(){
			"init":    func() { s.init("", 0) },
			"total":   func() { s.setTotal(9, true) },
			"item":    func() { s.mark(ok("c")) },
			"failure": func() { s.mark(failed("d")) },
			"repair":  func() { s.mark(ok("d")) },
			"known":   func() { s.mark(ok("a")) },
			"fail":    func() { s.fail("why") },
		} {
			s.expire(time.Hour, s.keys()...)
			change()
			s.lives(life, s.keys()...)
			require.Len(s, s.keys(), 4, name)
		}
	})
	// A hash of another service without an expiry would stay for ever.
	each(t, "is set on a hash without one", func(s suite) {
		s.write("crawl_total", "0")
		s.mark(ok("a"))
		s.lives(life, s.keys()...)
	})
	each(t, "is not renewed by a check", func(s suite) {
		s.init(owner, 9)
		s.mark(ok("a"), failed("b"))
		s.expire(time.Hour, s.keys()...)
		s.check()
		s.lives(time.Hour, s.keys()...)

		// Another service renewed the hash alone: redelivered items would count again.
		s.expire(2*time.Hour, redisdb.Key(s.id))
		s.check()
		s.lives(2*time.Hour, s.keys()...)
		require.Len(s, s.keys(), 4)

		s.expire(time.Hour, redisdb.Key(s.id))
		s.check()
		s.lives(time.Hour, redisdb.Key(s.id))
		s.lives(2*time.Hour, redisdb.ItemsKey(s.id))

		require.NoError(s, s.client.Persist(ctx, redisdb.Key(s.id)).Err())
		s.check()
		s.lives(life, redisdb.ItemsKey(s.id), redisdb.FailedKey(s.id), redisdb.OwnerKey(s.id))
		left, err := s.client.TTL(ctx, redisdb.Key(s.id)).Result()
		require.NoError(s, err)
		require.Negative(s, left, "the hash keeps what its writer wants")
	})
}
