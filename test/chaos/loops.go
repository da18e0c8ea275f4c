package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/test/harness"
)

// killLoops gives the loops of the consumers work and kills one consumer in the middle: trials that end one after the other,
// and projects that are complete without anybody having been told, one of them with a key that holds something else.
func killLoops(ctx context.Context, r *run, s *section) error {
	if err := r.endTrials(ctx); err != nil {
		return err
	}
	for i := range loopItems {
		if err := r.completeProject(ctx, i == 0); err != nil {
			return err
		}
	}
	var expired int
	limited, cancel := context.WithTimeout(ctx, r.hold)
	defer cancel()
	err := harness.Eventually(limited, func() (err error) {
		expired, err = r.Count(ctx, `SELECT count(*) FROM subscriptions s JOIN users u ON u.id = s.user_id
			WHERE u.username LIKE 'trial-%' AND s.status = 'expired'`)
		if err == nil && expired == 0 {
			err = errors.New("no trial has ended")
		}
		return err
	})
	s.notes = append(s.notes, fmt.Sprintf("%d of %d trials had ended", expired, 10*loopItems))
	return errors.Join(err, killProcess(consumers)(ctx, r, s))
}

// loopItems is how many projects there are, and a tenth of the trials.
const loopItems = 50

// endTrials stores users whose trials end one after the other, all within six seconds.
func (r *run) endTrials(ctx context.Context) error {
	rows, err := r.DB.QueryContext(ctx, `WITH people AS (
			INSERT INTO users (id, username, is_active, created_at, updated_at)
			SELECT gen_random_uuid(), 'trial-' || gen_random_uuid() || '@example.com', true, now(), now()
			FROM generate_series(1, $1::int) RETURNING id
		), versions AS (
			INSERT INTO subscription_versions (user_id, version) SELECT id, 1 FROM people
		), ending AS (
			SELECT id, now() + make_interval(secs => 6.0 * row_number() OVER () / $1::int) AS at FROM people
		)
		INSERT INTO subscriptions (id, user_id, plan_id, status, starts_at, trial_ends_at, version, created_at, updated_at,
			reminded_for, reminded_days)
		SELECT gen_random_uuid(), e.id, p.id, 'trialing', e.at - interval '336 hours', e.at, 1, now(), now(), e.at, 1
		FROM ending e, plans p WHERE p.code = 'free' RETURNING user_id`, 10*loopItems)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		r.trials = append(r.trials, id)
	}
	return rows.Err()
}

// completeProject counts a project's only item and then sets its total to one past the service, so that a sweep has to find
// it. The key of a bad one holds something else.
func (r *run) completeProject(ctx context.Context, bad bool) error {
	id := "proj_" + uuid.NewString()
	key, client := []string{"X-Internal-Key", os.Getenv("INTERNAL_KEY")}, r.crowd.clients()
	path := "/internal/projects/" + id
	ok := harness.Expect(http.StatusOK)
	project := map[string]any{"user_id": "u1", "total": 0}
	if _, err := ok(client.Call(ctx, http.MethodPost, path, project, key...)); err != nil {
		return err
	}
	items := map[string]any{"items": []map[string]any{{"item_id": "a"}}}
	if _, err := ok(client.Call(ctx, http.MethodPost, path+"/items", items, key...)); err != nil {
		return err
	}
	if bad {
		return r.Redis.Set(ctx, "smap:proj:"+id, "x", 0).Err()
	}
	r.projects = append(r.projects, id)
	return r.Redis.HSet(ctx, "smap:proj:"+id, "total", 1).Err()
}

// endLoops starts the consumer again and expects exactly one event of each.
func endLoops(ctx context.Context, r *run) error {
	if err := restartProcesses(ctx, r); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	return harness.Eventually(limited, func() error {
		for key, subjects := range map[string][]string{"subscription.cancelled": r.trials, "job.completed": r.projects} {
			if have := r.events.of(key, subjects); !maps.Equal(have, map[int]int{1: len(subjects)}) {
				return fmt.Errorf("%s: %d have to be told of once; so many times have so many been: %v", key, len(subjects), have)
			}
		}
		return nil
	})
}

// killEraser has users who were deleted a month ago erased, and kills the program in the middle.
func killEraser(ctx context.Context, r *run, s *section) error {
	_, err := r.DB.ExecContext(ctx, `INSERT INTO users (id, username, is_active, created_at, updated_at, deleted_at)
		SELECT gen_random_uuid(), 'deleted-' || gen_random_uuid() || '@example.com', false, now() - interval '60 days', now(),
		now() - interval '31 days' FROM generate_series(1, 500)`)
	if err != nil {
		return err
	}
	for round := range 3 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(round+1)*time.Second)
		binary, err := harness.Binary(harness.Consumer)
		if err != nil {
			cancel()
			return err
		}
		purge := exec.CommandContext(limited, binary, "purge") //nolint:gosec // G204: a binary of ours
		purge.Env = r.Consumers[0].Env()
		_ = purge.Run() // it is killed, or has ended
		cancel()
		left, err := r.deleted(ctx)
		if err != nil {
			return err
		}
		s.notes = append(s.notes, fmt.Sprintf("%d of 500 are left after a kill", left))
	}
	return nil
}

func (r *run) deleted(ctx context.Context) (int, error) {
	return r.Count(ctx, "SELECT count(*) FROM users WHERE username LIKE 'deleted-%'")
}

// finishErasing erases the rest.
func finishErasing(ctx context.Context, r *run) error {
	limited, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	binary, err := harness.Binary(harness.Consumer)
	if err != nil {
		return err
	}
	purge := exec.CommandContext(limited, binary, "purge") //nolint:gosec // G204: a binary of ours
	purge.Env = r.Consumers[0].Env()
	if out, err := purge.CombinedOutput(); err != nil {
		return fmt.Errorf("consumer purge: %w\n%s", err, out)
	}
	if left, err := r.deleted(ctx); err != nil || left > 0 {
		return errors.Join(err, fmt.Errorf("%d users were not erased", left))
	}
	return nil
}
