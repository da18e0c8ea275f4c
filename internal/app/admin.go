package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event/outbox"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

// WithDatabase calls fn with the database of role once it responds, and closes it afterwards. The standalone's is a file,
// which its first start creates.
func WithDatabase(
	ctx context.Context, role config.Role, cfg config.Config, log zerolog.Logger, fn func(db *database.DB) error,
) (err error) {
	options := database.Options{
		Dialect:  database.Postgres,
		DSN:      cfg.Postgres.DSN(),
		MaxConns: 2,
		ExecMode: database.ExecMode(cfg.Postgres.ExecMode),
	}
	if role == config.Standalone {
		options = embeddedDatabase(cfg)
		if _, err := os.Stat(options.DSN); err != nil {
			return fmt.Errorf("there is no database in DATA_DIR yet; start the standalone once: %w", err)
		}
	}
	db, err := database.Open(options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := waitForDatabase(ctx, db, cfg.Service.StartTimeout, log); err != nil {
		return err
	}
	return fn(db)
}

// DueSubscriptions returns how many subscriptions have ended without having been expired, and how many of those did so
// more than seven days ago. migrated says that the schema is this release's.
func DueSubscriptions(
	ctx context.Context, db *database.DB, grace time.Duration, migrated bool,
) (due, overdue int, err error) {
	clock, err := startClock(ctx, db)
	if err != nil {
		return 0, 0, err
	}
	repository := subscriptionsql.NewDue(db, grace)
	if !migrated {
		repository = subscriptionsql.NewDueBefore(db, grace)
	}
	due, overdue, err = subscriptions.CountDue(ctx, repository, clock.Now())
	if database.IsMissing(err) { // an empty database
		return 0, 0, nil
	}
	return due, overdue, err
}

// Rebuilt is what RebuildState has done.
type Rebuilt struct {
	States   subscriptions.Rebuilt
	Progress invitations.Rebuilt
}

// RebuildState writes every user's subscription state, and the progress of the last week's invitations, to Redis again,
// from the database. What fails is passed over, and named by the error that is returned at the end.
func RebuildState(ctx context.Context, cfg config.Config, db *database.DB, log zerolog.Logger) (r Rebuilt, err error) {
	state := openState(cfg.Redis)
	defer func() { err = errors.Join(err, state.Close()) }()
	in := &infra{
		cfg:     cfg,
		log:     log,
		db:      db,
		tx:      db,
		state:   state,
		cache:   state, // nobody watches
		metrics: newMetrics(),
	}
	if in.clock, err = startClock(ctx, db); err != nil {
		return r, err
	}
	if in.sealer, err = newSealer(cfg.Secrets); err != nil {
		return r, err
	}
	var states, progress error
	r.States, states = in.newProjection().RebuildStates(ctx)
	// What turns out to be done is announced: any relay brings it to the broker.
	events := in.owing(outbox.NewPublisher(db, in.sealer, in.clock, func() {}))
	r.Progress, progress = in.newRepairer(in.newProgress(events)).Rebuild(ctx)
	return r, errors.Join(states, progress)
}

// RetryOutbox makes the rows the relay has given up due again and returns how many there were. operator is who asked for
// it.
func RetryOutbox(ctx context.Context, db *database.DB, operator string) (rows int64, err error) {
	clock, err := startClock(ctx, db)
	if err != nil {
		return 0, err
	}
	err = db.WithinTxRetry(ctx, func(ctx context.Context) error {
		if rows, err = retryOutbox(ctx, db, clock.Now()); err != nil {
			return err
		}
		return newRecorder(db, clock).Record(ctx, audit.Entry{Action: audit.OutboxRetried, Operator: operator})
	})
	return rows, err
}
