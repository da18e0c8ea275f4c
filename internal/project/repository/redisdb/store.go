// Package redisdb counts projects in Redis, in the hash that all SMAP services share:
//
//	smap:proj:{id}          status, total, done, errors, failed_reason; neighbours keep others in it, and they stay
//	smap:proj:{id}:items    the items that have been counted: an item counts once
//	smap:proj:{id}:failed   those of them that failed
//	smap:user:{id}          the owner's user id
//	identity:open-projects  the projects that we count and that are not signalled yet, by their last touch
//
// Every operation is one script, hence one step for everybody else, and ends with the same finish check (finish.lua).
// All keys of a project live 604800 s from its last change.
//
// It does not promise that a count survives: Redis can lose its last second, and then a repeated Mark counts those items
// once more, as it should. It does not know which projects have been announced; it only knows which have to be.
package redisdb

import (
	"context"
	"errors"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

// ownersKept is how many owners one process remembers: a few hundred bytes each.
const ownersKept = 10_000

// Store is a project.Tracker and a project.Reader. Safe for concurrent use.
type Store struct {
	client *redis.Client
	owners *lru.Cache[string, string] // project id → user id; an owner never changes
}

// New works on the database client has selected (REDIS_STATE_DB). The client may retry: what has been carried out twice
// is the same as once.
func New(client *redis.Client) *Store {
	owners, err := lru.New[string, string](ownersKept)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Store{client, owners}
}

var (
	_ project.Tracker = (*Store)(nil)
	_ project.Reader  = (*Store)(nil)
)

// Init implements project.Tracker. Where a hash has been lost and its items have not, the counters begin with what the
// sets hold. A total for a project that is DONE or FAILED without one is refused; the rest is filled all the same.
func (s *Store) Init(ctx context.Context, projectID, owner string, total int64) (project.Change, error) {
	if err := project.CheckTotal(total); err != nil {
		return project.Change{}, err
	}
	return s.change(ctx, "initialising a project", initScript, projectID, append(arguments(projectID, 2), owner, total))
}

// SetTotal implements project.Tracker.
func (s *Store) SetTotal(ctx context.Context, projectID string, total int64, final bool) (project.Change, error) {
	if err := project.CheckTotal(total); err != nil {
		return project.Change{}, err
	}
	status := project.StatusCrawling
	if final {
		status = project.StatusProcessing
	}
	return s.change(ctx, "storing a total", totalScript, projectID, append(arguments(projectID, 2), total, string(status)))
}

// Mark implements project.Tracker. Of an item that is there twice, ok wins. It answers project.ErrBody for no item or
// more than project.MaxItems.
func (s *Store) Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error) {
	if len(items) == 0 || len(items) > project.MaxItems {
		return project.Change{}, project.CheckItems(items)
	}
	return s.change(ctx, "marking items", markScript, projectID, markArguments(projectID, items))
}

// markArguments puts the ok items first and the failed ones after them, each id once.
func markArguments(projectID string, items []project.Item) []any {
	args := arguments(projectID, 1+len(items))
	if len(items) == 1 {
		ok := 1
		if items[0].Failed {
			ok = 0
		}
		return append(args, ok, items[0].ID)
	}
	count := len(args)
	args = append(args, 0)
	seen := make(map[string]bool, len(items))
	for _, failed := range []bool{false, true} {
		for _, item := range items {
			if item.Failed == failed && !seen[item.ID] {
				seen[item.ID] = true
				args = append(args, item.ID)
			}
		}
		if !failed {
			args[count] = len(seen)
		}
	}
	return args
}

// Fail implements project.Tracker. The reason is the hash's field failed_reason.
func (s *Store) Fail(ctx context.Context, projectID, reason string) (project.Change, error) {
	return s.change(ctx, "failing a project", failScript, projectID, append(arguments(projectID, 1), reason))
}

// Check implements project.Tracker. The project moves to the end of Open's queue, or out of it when it is not there.
// Where a neighbour has prolonged the hash alone, the rest of the project's keys lives as long.
func (s *Store) Check(ctx context.Context, projectID string) (project.Change, error) {
	return s.change(ctx, "checking a project", checkScript, projectID, arguments(projectID, 0))
}

// Signalled implements project.Tracker.
func (s *Store) Signalled(ctx context.Context, projectID string) error {
	if err := s.run(ctx, signalledScript, 5, arguments(projectID, 0)).Err(); err != nil {
		return unavailable(ctx, "noting a signal", err)
	}
	return nil
}

// Forget implements project.Tracker.
func (s *Store) Forget(ctx context.Context, projectID string) error {
	s.owners.Remove(projectID)
	if err := s.run(ctx, forgetScript, 5, arguments(projectID, 0)).Err(); err != nil {
		return unavailable(ctx, "forgetting a project", err)
	}
	return nil
}

// Open implements project.Tracker, by the server's clock.
func (s *Store) Open(ctx context.Context, idle time.Duration, limit int) ([]string, error) {
	ids, err := s.run(ctx, openScript, 1, []any{2: nil, OpenKey, idle.Milliseconds(), max(limit, 0)}).StringSlice()
	if err != nil {
		return nil, unavailable(ctx, "looking for open projects", err)
	}
	return ids, nil
}

// Progress implements project.Reader.
func (s *Store) Progress(ctx context.Context, projectID string) (project.Progress, error) {
	fields, err := s.client.HGetAll(ctx, Key(projectID)).Result()
	if err != nil {
		return project.Progress{}, unavailable(ctx, "reading a project", err)
	}
	p := project.Progress{ProjectID: projectID, Status: project.StatusNotFound}
	if len(fields) > 0 {
		p.Status = read(fields["status"])
		p.Total, p.Done, p.Errors = number(fields["total"]), number(fields["done"]), number(fields["errors"])
	}
	return p, nil
}

// number is begin.lua's: what is not a whole number, or more than a Lua number holds exactly, reads as 0.
func number(text string) int64 {
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0
	}
	return int64(n)
}

// Owner implements project.Reader. An owner that has been read once is not asked for again.
func (s *Store) Owner(ctx context.Context, projectID string) (string, error) {
	if owner, known := s.owners.Get(projectID); known {
		return owner, nil
	}
	owner, err := s.client.Get(ctx, OwnerKey(projectID)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", unavailable(ctx, "reading a project's owner", err)
	}
	if owner != "" {
		s.owners.Add(projectID, owner)
	}
	return owner, nil
}
