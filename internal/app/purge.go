package app

import (
	"context"
	"time"

	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	ledger "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/process"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
	"github.com/smap-platform/identity/pkg/lifecycle"
)

const (
	// ledgerLife is how long the mail ledger, and the comparison of mails, remember: long after the last retry, and long
	// enough for a question "did you send it?".
	ledgerLife = 30 * 24 * time.Hour
	// processLife is how long a process that has ended is remembered.
	processLife = 24 * time.Hour
)

// purging is the role that forgets what is old, once an hour. Any number of processes may do it.
func (p *parts) purging() lifecycle.Role {
	return lifecycle.Role{Name: "purge", Run: func(ctx context.Context) error {
		tick := time.NewTicker(time.Hour)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				now := p.clock.Now()
				p.purge(ctx, "mails", func() (int64, error) { return ledger.NewLedger(p.db).PurgeOlderThan(ctx, now.Add(-ledgerLife)) })
				p.purge(ctx, "completions", func() (int64, error) {
					return projectsql.NewCompletions(p.db).PurgeOlderThan(ctx, now.Add(-completionLife))
				})
				p.purge(ctx, "invitations", func() (int64, error) { return authsql.NewInvitations(p.db).PurgeExpired(ctx, now) })
				p.purge(ctx, "batches", func() (int64, error) {
					return authsql.NewBatches(p.db).PurgeOlderThan(ctx, now.Add(-batchLife))
				})
				p.purge(ctx, "processes", func() (int64, error) { return process.Purge(ctx, p.db, now.Add(-processLife)) })
				p.wing.purges(ctx, now)
			}
		}
	}}
}

func (p *parts) purge(ctx context.Context, what string, purge func() (int64, error)) {
	n, err := purge()
	switch {
	case ctx.Err() != nil: // stopping
	case err != nil:
		p.log.Warn().Err(err).Str("what", what).Msg("what is old was not forgotten; next try in an hour")
	case n > 0:
		p.log.Info().Int64("rows", n).Str("what", what).Msg("what was old is forgotten")
	}
}
