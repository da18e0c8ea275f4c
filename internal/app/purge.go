package app

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/heartbeat"
	"github.com/smap-platform/identity/internal/legacy"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
)

// How long rows are kept that nothing refers to any more.
const (
	// mailLife is far longer than the last retry, and long enough for the question "did you send it?".
	mailLife = 30 * 24 * time.Hour
	// batchLife is how long a repeated upload is recognised.
	batchLife = 30 * 24 * time.Hour
	// completionLife is far longer than a project can still be counted.
	completionLife = 30 * 24 * time.Hour
	// processLife is how long a process that has ended is listed.
	processLife = 24 * time.Hour
)

// purge deletes expired rows once an hour until ctx ends. Any number of processes may do it.
func (a *App) purge(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.purgeOnce(ctx)
		}
	}
}

func (a *App) purgeOnce(ctx context.Context) {
	type purgeFunc = func(ctx context.Context, then time.Time) (int64, error)
	now, purger := a.clock.Now(), a.newInvitationPurger()
	for _, p := range []struct {
		table string
		life  time.Duration
		purge purgeFunc
	}{
		{"mails", mailLife, mailsql.NewLedger(a.db).PurgeOlderThan},
		{"completions", completionLife, projectsql.NewCompletions(a.db).PurgeOlderThan},
		{"invitations", 0, purger.PurgeExpired},
		{"batches", batchLife, purger.PurgeBatches},
		{"comparisons", mailLife, a.legacy.purgeComparisons},
		{"mails without an id", legacy.UnnamedFor, a.legacy.purgeUnnamed},
		{"processes", processLife, func(ctx context.Context, then time.Time) (int64, error) {
			return heartbeat.Purge(ctx, a.db, then)
		}},
	} {
		n, err := p.purge(ctx, now.Add(-p.life))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.log.Warn().Err(err).Str("what", p.table).Msg("expired rows were not purged; next try in an hour")
		case n > 0:
			a.log.Info().Int64("rows", n).Str("what", p.table).Msg("purged expired rows")
		}
	}
}
