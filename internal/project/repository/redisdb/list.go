package redisdb

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

const (
	// listChunk is how many open projects are read at a time, and listLimit how many at most for one page.
	listChunk = 500
	listLimit = 20_000
)

// Touched is an open project and when it was touched last.
type Touched struct {
	project.Progress
	At time.Time
}

// List returns up to limit open projects that keep, those first that were touched last, behind after; zero is before the
// first. It looks at 20,000 of them at most.
func (s *Store) List(
	ctx context.Context, after Touched, limit int, keep func(project.Progress) bool,
) (page []Touched, err error) {
	highest := "+inf"
	if after.ProjectID != "" {
		highest = strconv.FormatInt(after.At.UnixMilli(), 10)
	}
	for offset := int64(0); offset < listLimit && len(page) < limit; offset += listChunk {
		found, err := s.client.ZRevRangeByScoreWithScores(ctx, OpenKey,
			&redis.ZRangeBy{Min: "-inf", Max: highest, Offset: offset, Count: listChunk}).Result()
		if err != nil {
			return nil, asUnavailable(ctx, "listing open projects", err)
		}
		chunk, err := s.read(ctx, behind(found, after))
		if err != nil {
			return nil, err
		}
		for _, p := range chunk {
			if len(page) < limit && keep(p.Progress) {
				page = append(page, p)
			}
		}
		if len(found) < listChunk {
			break
		}
	}
	return page, nil
}

// behind returns the open projects of a range, without those that come before or at after: many can have one time.
func behind(found []redis.Z, after Touched) (all []Touched) {
	for _, z := range found {
		id, _ := z.Member.(string)
		at := time.UnixMilli(int64(z.Score)).UTC()
		if after.ProjectID == "" || !at.Equal(after.At) || id < after.ProjectID {
			all = append(all, Touched{project.Progress{ProjectID: id}, at})
		}
	}
	return all
}

// read returns the projects with their progress.
func (s *Store) read(ctx context.Context, all []Touched) ([]Touched, error) {
	ids := make([]string, len(all))
	for i, t := range all {
		ids[i] = t.ProjectID
	}
	found, err := s.Many(ctx, ids)
	for i := range found {
		all[i].Progress = found[i]
	}
	return all, err
}

// Many returns the progress of each project.
func (s *Store) Many(ctx context.Context, ids []string) ([]project.Progress, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	hashes, failed := make([]*redis.MapStringStringCmd, len(ids)), make([]*redis.IntCmd, len(ids))
	// A key that another service has made something else of has an error of its own, and is no project.
	_, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, id := range ids {
			hashes[i], failed[i] = pipe.HGetAll(ctx, Key(id)), pipe.SCard(ctx, FailedKey(id))
		}
		return nil
	})
	if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, asUnavailable(ctx, "reading projects", err)
	}
	all := make([]project.Progress, len(ids))
	for i, id := range ids {
		all[i] = progressOf(id, hashes[i].Val(), failed[i].Val())
	}
	return all, nil
}

// Hash is what a project's hash holds.
type Hash struct {
	Fields  map[string]string
	Life    time.Duration // until it expires; 0: it does not, or does not exist
	Owner   string
	Touched time.Time // zero: it is not open
}

// Hash returns the hash of a project, which is empty when it does not exist.
func (s *Store) Hash(ctx context.Context, projectID string) (Hash, error) {
	var (
		fields *redis.MapStringStringCmd
		life   *redis.DurationCmd
		owner  *redis.StringCmd
		score  *redis.FloatCmd
	)
	_, _ = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		fields, life = pipe.HGetAll(ctx, Key(projectID)), pipe.PTTL(ctx, Key(projectID))
		owner, score = pipe.Get(ctx, OwnerKey(projectID)), pipe.ZScore(ctx, OpenKey, projectID)
		return nil
	})
	if err := fields.Err(); err != nil { // missing are only the others
		return Hash{}, asUnavailable(ctx, "reading a project ("+Key(projectID)+")", err)
	}
	h := Hash{Fields: fields.Val(), Life: max(life.Val(), 0), Owner: owner.Val()}
	if score.Err() == nil {
		h.Touched = time.UnixMilli(int64(score.Val())).UTC()
	}
	return h, nil
}
