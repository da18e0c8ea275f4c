package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	auditsql "github.com/smap-platform/identity/internal/audit/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/heartbeat"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/internal/legacy"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/lifecycle"
)

// How long rows are kept that nothing refers to any more.
const (
	// mailLife is far longer than the last retry, and long enough for the question "did you send it?".
	mailLife = 30 * 24 * time.Hour
	// mailLost is how long a mail may be unfinished without a try before its event counts as lost: longer than a paused
	// lane or a stopped consumer is left alone.
	mailLost = 7 * 24 * time.Hour
	// batchLife is how long a repeated upload is recognised.
	batchLife = 30 * 24 * time.Hour
	// completionLife is far longer than a project can still be counted.
	completionLife = 30 * 24 * time.Hour
	// sessionLife is how long a session is kept once it is over: long enough for the question "was that me?".
	sessionLife = 30 * 24 * time.Hour
	// processLife is how long a process that has ended is listed.
	processLife = 24 * time.Hour
)

// firstPurge is when a process purges first: soon enough where each is replaced within the hour, and not while it starts.
const firstPurge = 5 * time.Minute

// purgeRest is how long no process purges again. It is shorter than the hour between two tries of a process, whose timer may
// be a moment early.
const purgeRest = 50 * time.Minute

// purge deletes expired rows, and erases who was deleted, once an hour until ctx ends. Of any number of processes one does it.
func (a *App) purge(ctx context.Context) error {
	first := time.NewTimer(firstPurge)
	defer first.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-first.C:
		a.purgeInTurn(ctx)
	}
	return lifecycle.Every(ctx, time.Hour, a.purgeInTurn)
}

// purgeInTurn purges unless another process has begun to within the hour.
func (a *App) purgeInTurn(ctx context.Context) {
	var turn bool
	err := a.db.WithinTx(ctx, func(ctx context.Context) (err error) {
		turn, err = subscriptionsql.NewPace(a.db, "purge").Grant(ctx, a.clock.Now(), purgeRest)
		return err
	})
	if err != nil || turn { // what cannot be reached is reported by the purges
		_ = a.purgeOnce(ctx)
	}
}

// Purge does once and at once what one of the consumers does each hour, and returns what has failed.
func Purge(ctx context.Context, cfg config.Config, db *database.DB, log zerolog.Logger) (err error) {
	in, _, err := publishing(ctx, cfg, db, log)
	if err != nil {
		return err
	}
	in.longTx, in.state = db.WithTxTimeout(inviteTx), openState(cfg.Redis)
	defer func() { err = errors.Join(err, in.state.Close()) }()
	in.letters = rabbitmq.NewDeadLetters(in.legacy.options("purge"), Queues(cfg))
	return (&App{infra: in}).purgeOnce(ctx)
}

// purgeOnce logs and counts what fails, and returns it.
func (a *App) purgeOnce(ctx context.Context) error {
	var failed []error
	now := a.clock.Now()
	a.failLostMails(ctx, now)
	purger := invitations.NewPurger(invitations.PurgerDeps{
		Invitations: invitationsql.NewInvitations(a.db),
		Accounts:    authentications.NewInvited(authsql.NewUsers(a.db)),
	})
	for _, p := range []struct {
		table string
		life  time.Duration
		purge func(ctx context.Context, then time.Time) (int64, error)
	}{
		{"mails", mailLife, mailsql.NewLedger(a.db).PurgeOlderThan},
		{"requests for codes", authentication.RequestKept, authsql.NewCodeRequests(a.db).PurgeOlderThan},
		{"notices", time.Hour, authsql.NewNotices(a.db).PurgeOlderThan},
		{"limits", 0, authsql.NewLimits(a.db).Purge},
		{"sessions", sessionLife, authsql.NewSessions(a.db).PurgeOlderThan},
		{"ended tokens", 0, a.legacy.purgeTokens},
		{"completions", completionLife, projectsql.NewCompletions(a.db).PurgeOlderThan},
		{"invitations", 0, purger.PurgeExpired},
		{"batches", batchLife, purger.PurgeBatches},
		{"comparisons", mailLife, a.legacy.purgeComparisons},
		{"mails without an id", legacy.UnnamedFor, a.legacy.purgeUnnamed},
		{"processes", processLife, func(ctx context.Context, then time.Time) (int64, error) {
			return heartbeat.Purge(ctx, a.db, then)
		}},
		{"details of the audit", a.cfg.Accounts.AuditDetailsFor, auditsql.NewEntries(a.db).PurgeDetails},
		{"unverified users", a.cfg.Accounts.UnverifiedKeptFor, a.purgeUnverified},
		{"deleted users", a.cfg.Accounts.EraseAfter, a.eraseUsers},
		{"mails given up", a.cfg.Accounts.EraseAfter, a.eraseMails},
		{"dead letters", a.cfg.Accounts.EraseAfter, a.eraseDeadLetters},
	} {
		n, err := p.purge(ctx, now.Add(-p.life))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed = append(failed, fmt.Errorf("%s: %w", p.table, err))
			a.metrics.purgesFailed.WithLabelValues(p.table).Inc()
			a.log.Warn().Err(err).Str("what", p.table).Int64("rows", n).
				Msg("expired rows were not all purged; next try in an hour")
		case n > 0:
			a.log.Info().Int64("rows", n).Str("what", p.table).Msg("purged expired rows")
		}
	}
	return errors.Join(failed...)
}

// purgeUnverified deletes users who have never proven their address; while pods of the previous release serve, nobody.
func (a *App) purgeUnverified(ctx context.Context, then time.Time) (int64, error) {
	if a.phase().Mixed() {
		return 0, nil
	}
	return authsql.NewUsers(a.db).PurgeProvisional(ctx, then)
}

// failLostMails fails the mails whose events are in no queue.
func (a *App) failLostMails(ctx context.Context, now time.Time) {
	n, err := mailsql.NewLedger(a.db).FailLost(ctx, now.Add(-mailLost), now)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.log.Warn().Err(err).Msg("unfinished mails were not looked at; next try in an hour")
	case n > 0:
		a.log.Error().Int64("mails", n).
			Msg("mails failed as lost: their events are in no queue; find out which queue was purged or deleted")
	}
}
