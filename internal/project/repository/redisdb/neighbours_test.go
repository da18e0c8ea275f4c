package redisdb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
)

// collected are the fields of a Collector that counts tasks, and never writes total and done.
func (s suite) collected(status string, fields ...any) {
	s.init(owner, 0)
	s.write(append([]any{"status", status}, fields...)...)
}

// everywhere returns the progress, which is the same for every reader.
func (s suite) everywhere() project.Progress {
	p := s.progress()
	require.Equal(s, p, s.check().Progress)
	require.Equal(s, p, s.init(owner, 0).Progress)
	return p
}

func TestNeighbours(t *testing.T) {
	t.Parallel()
	each(t, "are read by their phases without a total", func(s suite) {
		s.collected("PROCESSING", "tasks_total", 3, "tasks_done", 1, "analyze_total", 80, "analyze_done", 30, "analyze_errors", 10)
		p := s.everywhere()
		require.Equal(s, []int64{83, 41, 10}, []int64{p.Total, p.Done, p.Errors})
		require.InDelta(s, 41.66, p.Percent(), 0.001, "the mean of 33.33 and 50")

		s.collected("DONE", "tasks_total", 3, "tasks_done", 2, "tasks_errors", 1, "items_actual", 80,
			"crawl_done", 80, "analyze_total", 80, "analyze_done", 80, "analyze_errors", 0)
		p = s.everywhere()
		require.Equal(s, []int64{83, 83, 1}, []int64{p.Total, p.Done, p.Errors})
		require.InDelta(s, 100, p.Percent(), 0)
	})
	each(t, "are done without a total, and announce that themselves", func(s suite) {
		s.collected("PROCESSING", "tasks_total", 3)
		s.mark(ok("a"))
		require.True(s, s.open())
		s.write("status", "DONE", "tasks_done", 3)
		change := s.check()
		require.False(s, change.Crossed || change.Unsignalled, "job.completed would say total 0")
		require.False(s, s.open(), "the sweeper does not come back")
		require.InDelta(s, 100, change.Percent(), 0)
		require.False(s, s.mark(ok("b")).Unsignalled)
		require.Equal(s, "0", s.hash()["total"], "nothing of ours is written over theirs")
	})
	each(t, "count failures in errors only", func(s suite) {
		s.collected("PROCESSING", "total", 3, "done", 1, "errors", 1)
		p := s.everywhere()
		require.EqualValues(s, 2, p.Done)
		require.InDelta(s, 66.66, p.Percent(), 0.001)
		s.write("done", 2)
		require.Equal(s, project.Progress{ProjectID: s.id, Status: project.StatusDone, Total: 3, Done: 3, Errors: 1}, s.progress())
		require.Equal(s, "PROCESSING", s.hash()["status"], "reading writes nothing")
		s.write("status", "CRAWLING")
		require.Equal(s, project.StatusCrawling, s.progress().Status, "there may be more to find")
		s.write("status", "PROCESSING")
		change := s.check()
		require.True(s, change.Crossed)
		require.False(s, change.Unsignalled, "this service counted nothing of it")
		require.Equal(s, "2", s.hash()["done"], "what they count stays")
		require.InDelta(s, 100, s.progress().Percent(), 0)
	})
	each(t, "do not end a project of ours early", func(s suite) {
		s.init(owner, 4)
		require.EqualValues(s, 2, s.mark(failed("a"), failed("b")).Done)
		require.EqualValues(s, 3, s.mark(failed("c")).Done)
		require.Equal(s, project.StatusInitializing, s.progress().Status, "3 of 4 have ended, 3 of them failed")
		require.EqualValues(s, 3, s.mark(ok("a")).Done, "a repair changes what has failed, not what has ended")
		require.True(s, s.mark(ok("d")).Crossed)
	})
	each(t, "count beside this service", func(s suite) {
		s.init(owner, 4)
		s.mark(failed("a"))
		s.write("errors", 3) // two failures of theirs
		require.EqualValues(s, 3, s.progress().Done)
		require.True(s, s.mark(ok("b")).Unsignalled)
		require.EqualValues(s, 4, s.progress().Done)
	})
}
