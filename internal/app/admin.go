package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/database"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
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

// Promote makes the user with this address an administrator.
func Promote(ctx context.Context, db *database.DB, email string) error {
	clock, err := startClock(ctx, db)
	if err != nil {
		return err
	}
	return authentications.NewPromoter(authentications.PromoterDeps{
		Tx:    db,
		Users: authsql.NewUsers(db),
		Clock: clock,
	}).Promote(ctx, email)
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
	if in.sealer, err = outbox.NewSealer(cfg.Secrets.EventsSeal); err != nil {
		return r, err
	}
	var states, progress error
	r.States, states = in.newProjection().RebuildStates(ctx)
	// What turns out to be done is announced: any relay brings it to the broker.
	events := outbox.NewPublisher(db, in.sealer, in.clock, func() {})
	r.Progress, progress = in.newRepairer(in.newProgress(events)).Rebuild(ctx)
	return r, errors.Join(states, progress)
}

// RetryOutbox makes the rows the relay has given up due again and returns how many there were.
func RetryOutbox(ctx context.Context, db *database.DB) (int64, error) {
	clock, err := startClock(ctx, db)
	if err != nil {
		return 0, err
	}
	return retryOutbox(ctx, db, clock.Now())
}

// DeadLetters lists, replays and discards the dead letters of one queue.
type DeadLetters struct {
	tool  *rabbitmq.DeadLetters
	queue string
	mails *mailsql.Ledger // nil for queues without mails
}

// NewDeadLetters returns the dead letters of queue. db may be nil where nothing is replayed.
func NewDeadLetters(cfg config.Config, db *database.DB, queue string) *DeadLetters {
	connection := rabbitconn.Options{URL: string(cfg.RabbitMQ.URL), Name: "identity-dlq", Log: zerolog.Nop()}
	d := &DeadLetters{queue: queue, tool: rabbitmq.NewDeadLetters(connection, Queues(cfg))}
	if slices.Contains(mailQueues, queue) && db != nil {
		d.mails = mailsql.NewLedger(db)
	}
	return d
}

// List returns every dead letter, oldest first.
func (d *DeadLetters) List(ctx context.Context) ([]event.DeadLetter, error) {
	letters := []event.DeadLetter{}
	_, err := d.tool.Walk(ctx, d.queue, func(l event.DeadLetter) (rabbitmq.Handling, error) {
		letters = append(letters, l)
		return rabbitmq.Keep, nil
	}, func(event.DeadLetter) {})
	return letters, err
}

// Outcome is what became of one dead letter.
type Outcome struct {
	event.DeadLetter
	Action string `json:"action"` // replayed, already_sent, discarded
}

// Replay moves dead letters back to their queue with their attempts reset: all of them, or those with the given event
// ids. A mail that the ledger knows as accepted is only removed.
func (d *DeadLetters) Replay(ctx context.Context, ids []string) ([]Outcome, error) {
	return d.handle(ctx, ids, func(l event.DeadLetter) (rabbitmq.Handling, string, error) {
		if d.mails != nil {
			state, err := d.mails.State(ctx, l.EventID)
			if err != nil {
				return rabbitmq.Keep, "", err
			}
			if state == notification.StateAccepted {
				return rabbitmq.Remove, "already_sent", nil
			}
			if err := d.mails.Reopen(ctx, l.EventID); err != nil {
				return rabbitmq.Keep, "", err
			}
		}
		return rabbitmq.Replay, "replayed", nil
	})
}

// Discard removes dead letters for good: those with the given event ids, all of them with none.
func (d *DeadLetters) Discard(ctx context.Context, ids []string) ([]Outcome, error) {
	return d.handle(ctx, ids, func(event.DeadLetter) (rabbitmq.Handling, string, error) {
		return rabbitmq.Remove, "discarded", nil
	})
}

// handle does with each wanted letter what decide says. An id that is not found is an error, once the others have been
// handled.
func (d *DeadLetters) handle(ctx context.Context, ids []string,
	decide func(event.DeadLetter) (rabbitmq.Handling, string, error)) ([]Outcome, error) {
	outcomes := []Outcome{}
	var seen []string
	var action string
	_, err := d.tool.Walk(ctx, d.queue, func(l event.DeadLetter) (handling rabbitmq.Handling, err error) {
		if len(ids) > 0 && !slices.Contains(ids, l.EventID) {
			return rabbitmq.Keep, nil
		}
		seen = append(seen, l.EventID)
		handling, action, err = decide(l)
		return handling, err
	}, func(l event.DeadLetter) { outcomes = append(outcomes, Outcome{l, action}) })
	for _, id := range ids {
		if !slices.Contains(seen, id) {
			err = errors.Join(err, fmt.Errorf("no dead letter of %s has the event id %q", d.queue, id))
		}
	}
	return outcomes, err
}
