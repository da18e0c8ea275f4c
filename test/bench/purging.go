package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
)

// writes is how many registrations a second stand beside a purge, and writing for how long without one.
const (
	writes  = 20
	writing = 20 * time.Second
)

// purging measures registrations beside a purge of a tenth of what the tables have, beside the same without, and what the hourly
// look at the dead letters costs.
func (b *bench) purging(ctx context.Context, g *grown) error {
	without, err := g.registrations(ctx, writing)
	if err != nil {
		return err
	}
	n := g.rows / 10
	for _, statement := range []string{
		"UPDATE sessions SET last_seen_at = last_seen_at - interval '90 days', expires_at = expires_at - interval '90 days' " +
			"WHERE id IN (SELECT md5('session' || n)::uuid FROM generate_series(1, $1::int) n)",
		"UPDATE code_requests SET code_at = code_at - interval '90 days' " +
			"WHERE id IN (SELECT md5('request' || n)::uuid FROM generate_series(1, $1::int) n)",
		"UPDATE mail_deliveries SET updated_at = updated_at - interval '90 days' " +
			"WHERE event_id IN (SELECT 'evt_' || md5('mail' || n) FROM generate_series(1, $1::int) n)",
		"UPDATE limits SET last_at = last_at - interval '90 days' " +
			"WHERE digest IN (SELECT sha256(n::text::bytea) FROM generate_series(1, $1::int) n)",
		"UPDATE project_completions SET completed_at = completed_at - interval '90 days' " +
			"WHERE project_id IN (SELECT 'proj_' || md5('project' || n) FROM generate_series(1, $1::int) n)",
	} {
		if _, err := g.DB.ExecContext(ctx, statement, n); err != nil {
			return fmt.Errorf("%.40s: %w", statement, err)
		}
	}
	if _, err := g.DB.ExecContext(ctx, "VACUUM ANALYZE"); err != nil {
		return err
	}
	ended, purged := make(chan struct{}), make(chan error, 1)
	began := time.Now()
	go func() {
		defer close(ended)
		purged <- app.Purge(ctx, g.cfg, g.db, zerolog.Nop())
	}()
	with, err := g.registrations(ctx, time.Hour, ended)
	if err := errors.Join(err, <-purged); err != nil {
		return err
	}
	took := time.Since(began)
	b.report.beside(besideHeader, fmt.Sprintf("registration, 5 × %d rows are purged", n), with, without, 0, 2.0)
	b.report.note("the purge took %s; it looks at the dead letters at its end.", took.Round(time.Second/10))
	return g.walkDead(ctx, b)
}

// registrations registers so many people a second for so long, or until one of ended, and returns how long each had to wait.
func (g *grown) registrations(ctx context.Context, long time.Duration, ended ...chan struct{}) (took []time.Duration, err error) {
	ctx, stop := context.WithTimeout(ctx, long)
	defer stop()
	for _, over := range ended {
		go func() { <-over; stop() }()
	}
	for range everyTick(ctx, time.Second/writes) {
		d, err := whole((*grown).register)(g, context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	return took, nil
}

// walkDead times a look at all dead letters, as every consumer has it once an hour.
func (g *grown) walkDead(ctx context.Context, b *bench) error {
	for range 3 {
		began := time.Now()
		seen, err := g.deadLetters().Walk(ctx, app.EmailQueue, func(rabbitmq.Letter) (rabbitmq.Handling, error) {
			return rabbitmq.Keep, nil
		}, func(event.DeadLetter) {})
		if err != nil {
			return err
		}
		b.report.note("a look at all of %d dead letters took %s.", seen, time.Since(began).Round(time.Second/100))
	}
	return nil
}
