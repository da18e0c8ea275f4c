package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smap-platform/identity/test/harness"
)

// find reads the truth from the database, past every proxy.
func (r *run) find(ctx context.Context) (t truth, err error) {
	t = truth{exists: map[string]bool{}, active: map[string]bool{}, resends: map[string]int{}, states: map[string]string{}}
	t.attempts = r.mail.attempts
	rows, err := r.DB.QueryContext(ctx, "SELECT username, is_active FROM users")
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var active bool
		if err := rows.Scan(&name, &active); err != nil {
			return t, err
		}
		t.exists[name], t.active[name] = true, active
	}
	if err := rows.Err(); err != nil {
		return t, err
	}
	return t, errors.Join(r.findMails(ctx, t), r.findEffects(ctx))
}

// findMails reads the ledger.
func (r *run) findMails(ctx context.Context, t truth) error {
	rows, err := r.DB.QueryContext(ctx, `SELECT d.event_id, d.resends, d.state, coalesce(lower(c.email), '')
		FROM mail_deliveries d LEFT JOIN code_requests c USING (event_id)`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var event, state, email string
		var resends int
		if err := rows.Scan(&event, &resends, &state, &email); err != nil {
			return err
		}
		t.resends[event], t.states[email] = resends, state
	}
	return rows.Err()
}

// findEffects checks that everybody who has proven their address has a trial, in the database and in Redis.
func (r *run) findEffects(ctx context.Context) error {
	rows, err := r.DB.QueryContext(ctx, `SELECT u.id, s.id IS NOT NULL FROM users u LEFT JOIN subscriptions s ON s.user_id = u.id
		WHERE u.is_active AND u.username LIKE 'user-%'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	people, without, stateless := 0, 0, 0
	for rows.Next() {
		var id string
		var subscribed bool
		if err := rows.Scan(&id, &subscribed); err != nil {
			return err
		}
		people++
		if !subscribed {
			without++
		}
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := harness.Eventually(limited, func() error {
			status, err := r.Redis.HGet(ctx, "smap:sub:"+id, "status").Result()
			if err == nil && status != "trialing" {
				err = fmt.Errorf("status %s", status)
			}
			return err
		})
		cancel()
		if err != nil {
			stateless++
		}
	}
	fmt.Printf("%d people have proven their address; %d of them have no trial, %d no state in Redis\n", people, without, stateless)
	if without+stateless > 0 {
		r.wrong = append(r.wrong, "effects: people who have proven their address have no trial, or no state")
	}
	return rows.Err()
}

// metrics that have to be flat, and how far above the beginning they may be.
var flat = map[string]func(before float64) float64{
	"go_goroutines":    func(before float64) float64 { return 1.3*before + 20 },
	"process_open_fds": func(before float64) float64 { return 1.3*before + 20 },
}

// measure notes how much of each metric every process has.
func (r *run) measure(ctx context.Context) (map[string]map[string]float64, error) {
	all := map[string]map[string]float64{}
	for _, p := range r.Processes() {
		all[p.Name] = map[string]float64{}
		for name := range flat {
			value, err := p.Metric(ctx, name)
			if err != nil {
				return nil, err
			}
			all[p.Name][name] = value
		}
	}
	return all, nil
}

// checkFlat compares the metrics with those before the first fault.
func (r *run) checkFlat(ctx context.Context) error {
	now, err := r.measure(ctx)
	if err != nil {
		return err
	}
	for process, metrics := range now {
		for name, value := range metrics {
			before := r.resting[process][name]
			fmt.Printf("%s: %s %.0f before, %.0f after\n", process, name, before, value)
			if value > flat[name](before) {
				r.wrong = append(r.wrong, fmt.Sprintf("%s: %s has grown from %.0f to %.0f", process, name, before, value))
			}
		}
	}
	return nil
}

// checkQueues checks that nothing is left behind in a queue or the outbox.
func (r *run) checkQueues(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	err := harness.Eventually(limited, func() error {
		n, err := r.Count(ctx, "SELECT count(*) FROM outbox")
		if err == nil && n > 0 {
			err = fmt.Errorf("%d rows are left in the outbox", n)
		}
		return err
	})
	if err != nil {
		r.wrong = append(r.wrong, err.Error())
	}
	var group errgroup.Group
	for _, queue := range []string{"identity.email", "identity.invitation", "identity.subscription", "identity.project"} {
		group.Go(func() error {
			return harness.Eventually(limited, func() error {
				n, err := r.QueueLength(ctx, queue)
				if err == nil && n > 0 {
					err = fmt.Errorf("%d messages are left in %s", n, queue)
				}
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		r.wrong = append(r.wrong, err.Error())
	}
	return nil
}
