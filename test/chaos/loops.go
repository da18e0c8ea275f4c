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

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// killLoops gives scheduler and sweeper work and kills a consumer in the middle: trials that end one after the other, one of
// which cannot be stored, and projects that are complete without anybody having been told, the key of one of which holds
// something else.
func killLoops(ctx context.Context, r *run, s *section) error {
	if err := r.endTrials(ctx); err != nil {
		return err
	}
	var bad string
	bad, r.trials = r.trials[0], r.trials[1:]
	if err := r.refuse(ctx, "subscriptions", "OLD.user_id = '"+bad+"'"); err != nil {
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

// endLoops starts the consumer again and expects exactly one event of each that is not bad.
func endLoops(ctx context.Context, r *run) error {
	return errors.Join(
		restartProcesses(ctx, r),
		r.toldOnce(ctx, "subscription.cancelled", r.trials),
		r.toldOnce(ctx, "job.completed", r.projects),
		r.allow(ctx, "subscriptions"))
}

// toldOnce expects exactly one event with that key of each subject.
func (r *run) toldOnce(ctx context.Context, key string, subjects []string) error {
	limited, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	return harness.Eventually(limited, func() error {
		if have := r.events.of(key, subjects); !maps.Equal(have, map[int]int{1: len(subjects)}) {
			return fmt.Errorf("%s: %d have to be told of once; so many times have so many been: %v", key, len(subjects), have)
		}
		return nil
	})
}

// refuse has the database refuse every change of the rows of a table that meet a condition.
func (r *run) refuse(ctx context.Context, table, condition string) error {
	const trigger = `CREATE OR REPLACE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN RAISE EXCEPTION 'this row is bad'; END $$;
		CREATE TRIGGER chaos_refuse BEFORE UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION chaos_refuse()`
	_, err := r.DB.ExecContext(ctx, fmt.Sprintf(trigger, table, condition))
	return err
}

// allow ends what refuse has begun.
func (r *run) allow(ctx context.Context, table string) error {
	_, err := r.DB.ExecContext(ctx, "DROP TRIGGER chaos_refuse ON "+table)
	return err
}

// killRepairer takes the projects of unfinished batches from Redis, has the key of one hold something else, and kills a
// consumer once it has begun to count the others again.
func killRepairer(ctx context.Context, r *run, s *section) error {
	r.mail.script(smtptest.At(smtptest.Mail).Delay(time.Second))
	for range repairBatches {
		r.crowd.invite(repairBatches)
	}
	ids, err := r.openBatches(ctx)
	if err != nil || len(ids) < 2 {
		return errors.Join(err, fmt.Errorf("%d batches are unfinished: too few", len(ids)))
	}
	r.batches = ids
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = "smap:proj:" + id
	}
	if err := errors.Join(r.Redis.Del(ctx, keys...).Err(), r.Redis.Set(ctx, keys[0], "x", 0).Err()); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	var back int64
	err = harness.Eventually(limited, func() (err error) {
		back, err = r.Redis.Exists(ctx, keys[1:]...).Result()
		if err == nil && back == 0 {
			err = errors.New("no batch is counted again")
		}
		return err
	})
	s.notes = append(s.notes, fmt.Sprintf("%d of %d batches were counted again", back, len(ids)))
	return errors.Join(err, killProcess(consumers)(ctx, r, s))
}

// repairBatches is how many batches there are at least, of as many people each.
const repairBatches = 12

// openBatches returns the ids of the batches that are not complete.
func (r *run) openBatches(ctx context.Context) (ids []string, err error) {
	rows, err := r.DB.QueryContext(ctx, "SELECT id FROM invitation_batches WHERE completed_at IS NULL")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// endRepair starts the consumer again and expects exactly one event of each batch: first of those that are not bad, then of
// the bad one, once its key holds nothing.
func endRepair(ctx context.Context, r *run) error {
	r.mail.script()
	return errors.Join(
		restartProcesses(ctx, r),
		r.toldOnce(ctx, "job.completed", r.batches[1:]),
		r.Redis.Del(ctx, "smap:proj:"+r.batches[0]).Err(),
		r.toldOnce(ctx, "job.completed", r.batches[:1]))
}

// killEraser has users who were deleted a month ago erased, one of whom cannot be, and kills the program in the middle.
func killEraser(ctx context.Context, r *run, s *section) error {
	_, err := r.DB.ExecContext(ctx, `INSERT INTO users (id, username, is_active, created_at, updated_at, deleted_at)
		SELECT gen_random_uuid(), 'deleted-' || n || '@example.com', false, now() - interval '60 days', now(),
		now() - interval '31 days' FROM generate_series(1, 500) AS n`)
	if err := errors.Join(err, r.refuse(ctx, "users", "OLD.username = 'deleted-7@example.com'")); err != nil {
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

// finishErasing erases the others, then the bad one, and expects one entry of each in the record.
func finishErasing(ctx context.Context, r *run) error {
	_ = r.purge(ctx) // the bad one is an error
	left, err := r.deleted(ctx)
	if err == nil && left != 1 {
		err = fmt.Errorf("%d users are not erased, where one cannot be", left)
	}
	if err := errors.Join(err, r.allow(ctx, "users"), r.purge(ctx)); err != nil {
		return err
	}
	entries, err := r.Count(ctx, "SELECT count(*) FROM audit_entries WHERE action = 'user.erased'")
	once, err2 := r.Count(ctx, "SELECT count(DISTINCT user_id) FROM audit_entries WHERE action = 'user.erased'")
	if err == nil && (entries != 500 || once != 500) {
		err = fmt.Errorf("the record has %d entries of %d users who were erased, of 500", entries, once)
	}
	return errors.Join(err, err2)
}

// purge runs consumer purge to its end.
func (r *run) purge(ctx context.Context) error {
	out, err := r.Command(ctx, r.Consumers[0].Env(), harness.Consumer, "purge")
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("consumer purge: %s", out.Stderr)
	}
	return err
}
