// Package redisdb owns the progress of projects in Redis, in the hash that all SMAP services share:
//
//	smap:proj:{id}          status, total, done, errors, failed_reason; fields of other services stay
//	smap:proj:{id}:items    the counted items: an item counts once
//	smap:proj:{id}:failed   the counted items that failed
//	smap:user:{id}          the owner's user id
//	identity:open-projects  the projects that this service counts and that are not signalled yet, by their last touch
//
// Every operation is one script, hence atomic, and ends with the same finish check (finish.lua). All keys of a project
// expire 604800 s after its last change.
//
// The package does not promise that a count survives: Redis may lose its last second of writes, and a repeated Mark
// then counts those items again, as it should. It does not know which projects were announced, only which are still
// open.
package redisdb

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

// Store implements [project.ProgressStore], [project.OpenProjects] and [project.ProgressReader]. Safe for concurrent
// use.
type Store struct{ client *redis.Client }

// New returns a Store on the database that client has selected (REDIS_STATE_DB). The client may retry: every
// operation is idempotent.
func New(client *redis.Client) *Store { return &Store{client} }

var (
	_ project.ProgressStore  = (*Store)(nil)
	_ project.OpenProjects   = (*Store)(nil)
	_ project.ProgressReader = (*Store)(nil)
)

// Init implements [project.ProgressStore]. If the hash was lost and the items were not, the counters start from the
// sets. A total is refused for a project that is DONE or FAILED without one; the other fields are filled all the
// same.
func (s *Store) Init(ctx context.Context, projectID, owner string, total int64) (project.Change, error) {
	return s.change(ctx, "initialising a project", initScript, projectID, owner, total)
}

// SetTotal implements [project.ProgressStore].
func (s *Store) SetTotal(ctx context.Context, projectID string, total int64, final bool) (project.Change, error) {
	status := project.StatusCrawling
	if final {
		status = project.StatusProcessing
	}
	return s.change(ctx, "storing a total", totalScript, projectID, total, string(status))
}

// Mark implements [project.ProgressStore]. An item that is listed both as ok and as failed is ok.
func (s *Store) Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error) {
	return s.change(ctx, "marking items", markScript, projectID, markArguments(items)...)
}

// markArguments returns the number of the ok items, these, and then the failed ones, each id once.
func markArguments(items []project.Item) []any {
	args := []any{0}
	seen := make(map[string]bool, len(items))
	for _, failed := range []bool{false, true} {
		for _, item := range items {
			if item.Failed == failed && !seen[item.ID] {
				seen[item.ID] = true
				args = append(args, item.ID)
			}
		}
		if !failed {
			args[0] = len(seen)
		}
	}
	return args
}

// Fail implements [project.ProgressStore]. The reason is stored in the field failed_reason of the hash.
func (s *Store) Fail(ctx context.Context, projectID, reason string) (project.Change, error) {
	return s.change(ctx, "failing a project", failScript, projectID, reason)
}

// Check implements [project.OpenProjects]. It moves the project to the end of the open ones, or removes it from them
// if it does not exist. If another service extended the lifetime of the hash alone, Check extends that of the other
// keys.
func (s *Store) Check(ctx context.Context, projectID string) (project.Change, error) {
	return s.change(ctx, "checking a project", checkScript, projectID)
}

// MarkSignalled implements [project.OpenProjects].
func (s *Store) MarkSignalled(ctx context.Context, projectID string) error {
	err := s.run(ctx, signalledScript, projectID).Err()
	return asUnavailable(ctx, "recording a signal ("+Key(projectID)+")", err)
}

// Postpone implements [project.OpenProjects]. It does not touch the project's own keys, which may be what is wrong.
func (s *Store) Postpone(ctx context.Context, projectID string) error {
	err := postponeScript.Run(ctx, s.client, []string{OpenKey}, projectID).Err()
	return asUnavailable(ctx, "postponing a project", err)
}

// Forget implements [project.ProgressStore].
func (s *Store) Forget(ctx context.Context, projectID string) error {
	err := s.run(ctx, forgetScript, projectID).Err()
	return asUnavailable(ctx, "deleting a project", err)
}

// ListOpen implements [project.OpenProjects], by the clock of the server.
func (s *Store) ListOpen(ctx context.Context, idle time.Duration, limit int) ([]string, error) {
	ids, err := openScript.Run(ctx, s.client, []string{OpenKey}, idle.Milliseconds(), max(limit, 0)).StringSlice()
	return ids, asUnavailable(ctx, "listing open projects", err)
}

// Progress implements [project.ProgressReader]. It reads without a script, in half of the time, by the rules of
// begin.lua, ended.lua and reply.lua.
func (s *Store) Progress(ctx context.Context, projectID string) (p project.Progress, owner string, err error) {
	var (
		hash   *redis.MapStringStringCmd
		failed *redis.IntCmd
		user   *redis.StringCmd
	)
	_, err = s.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		hash = pipe.HGetAll(ctx, Key(projectID))
		failed = pipe.SCard(ctx, FailedKey(projectID))
		user = pipe.Get(ctx, OwnerKey(projectID))
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return project.Progress{}, "", asUnavailable(ctx, "reading a project ("+Key(projectID)+")", err)
	}
	return progressOf(projectID, hash.Val(), failed.Val()), user.Val(), nil
}

// progressOf returns the progress that a hash holds, of which there is none when it is empty. failed is how many items have.
func progressOf(projectID string, fields map[string]string, failed int64) project.Progress {
	p := project.Progress{ProjectID: projectID, Status: project.StatusNotFound}
	if len(fields) == 0 {
		return p
	}
	p.Status = parseStatus(fields["status"])
	p.Total = parseCount(fields["total"])
	p.Errors = parseCount(fields["errors"])
	p.Done = parseCount(fields["done"]) + max(0, p.Errors-failed)
	if p.Total > 0 && p.Done >= p.Total && !p.Status.Final() && p.Status != project.StatusCrawling {
		p.Status = project.StatusDone // the sweeper stores it for those that are counted here
	}
	if p.Total == 0 {
		p = p.InPhases(phaseOf(fields, "tasks"), phaseOf(fields, "crawl"), phaseOf(fields, "analyze"))
	}
	return p
}

// parseCount follows begin.lua: text that is no whole number, or one too large for Lua, counts as 0.
func parseCount(text string) int64 {
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0
	}
	return int64(n)
}

func phaseOf(fields map[string]string, name string) project.Phase {
	_, planned := fields[name+"_total"]
	return project.Phase{
		Planned: planned,
		Total:   parseCount(fields[name+"_total"]),
		Done:    parseCount(fields[name+"_done"]),
		Errors:  parseCount(fields[name+"_errors"]),
	}
}
