package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	// endingCount trials end at once.
	endingCount = 10_000
	// endingBatch is the scheduler's (internal/subscription/usecase).
	endingBatch = 500
)

// scheduler measures trials that end on PostgreSQL, until each is expired with its event in the outbox. Beside it stands
// the least that must be written: UPDATE … RETURNING of as many rows, and the insert of the same outbox rows, in
// transactions of the same size. That locks no user, raises no version and knows no rule.
func (b *bench) scheduler(ctx context.Context) error {
	return b.withBroker(ctx, 1, 1, func(br *broker) error {
		own := b.config.Postgres
		own.Database = br.system.Database
		db, err := database.Open(database.Options{Dialect: database.Postgres, DSN: own.DSN()})
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }() // the database is dropped next
		if _, err := schema.Up(ctx, db); err != nil {
			return err
		}
		sealer, err := outbox.NewSealer(bytes.Repeat([]byte{7}, 32))
		if err != nil {
			return err
		}
		s := &schedulerBench{db: db, clock: database.NewClock(db)}
		s.events = outbox.NewPublisher(db, sealer, s.clock, func() {})
		return b.compare(ctx, comparison{
			what:    "scheduler, trials that end, with their events",
			n:       endingCount,
			aim:     0.6,
			prepare: s.fill,
			ours:    timed(s.ours),
			bare:    timed(s.bare),
			verify:  s.verify,
		})
	})
}

type schedulerBench struct {
	db     *database.DB
	clock  *database.Clock
	events *outbox.Publisher
}

// fill stores users whose trials have just ended.
func (s *schedulerBench) fill(ctx context.Context) error {
	for _, statement := range []string{
		"TRUNCATE outbox, subscriptions, subscription_versions, users CASCADE",
		`INSERT INTO plans (id, name, code, max_usage, created_at, updated_at)
			VALUES (gen_random_uuid(), 'Free', 'free', 100, now(), now()) ON CONFLICT DO NOTHING`,
		fmt.Sprintf(`INSERT INTO users (id, username, is_active, created_at, updated_at)
			SELECT gen_random_uuid(), 'person' || n || '@example.com', true, now(), now() FROM generate_series(1, %d) n`, endingCount),
		"INSERT INTO subscription_versions (user_id, version) SELECT id, 1 FROM users",
		`INSERT INTO subscriptions (id, user_id, plan_id, status, starts_at, trial_ends_at, version, created_at, updated_at)
			SELECT gen_random_uuid(), u.id, p.id, 'trialing', now() - interval '337 hours',
				now() - interval '1 hour' + row_number() OVER () * interval '1 millisecond', 1, now(), now()
			FROM users u, plans p`,
		"ANALYZE users, subscriptions, subscription_versions, outbox",
	} {
		if _, err := s.db.Conn(ctx).ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return s.clock.Sync(ctx)
}

func (s *schedulerBench) verify(ctx context.Context) error {
	var expired, events int
	err := s.db.Conn(ctx).QueryRowContext(ctx, `SELECT (SELECT count(*) FROM subscriptions WHERE status = 'expired'),
		(SELECT count(DISTINCT event_id) FROM outbox)`).Scan(&expired, &events)
	if err == nil && (expired != endingCount || events != endingCount) {
		err = fmt.Errorf("%d trials expired with %d events, not %d", expired, events, endingCount)
	}
	return err
}

// ours is the scheduler's work when it wakes up.
func (s *schedulerBench) ours(ctx context.Context) error {
	_, err := s.scheduler().RunDue(ctx)
	return err
}

func (s *schedulerBench) scheduler() *usecase.Scheduler {
	due := sqldb.NewDue(s.db, 14*subscription.Day)
	return usecase.NewScheduler(usecase.SchedulerDeps{
		Tx:           s.db,
		Clock:        s.clock,
		Due:          due,
		Reminders:    due,
		Recipients:   nobody{},
		Pace:         sqldb.NewPace(s.db, sqldb.OverduePace),
		Events:       s.events,
		Observer:     unobserved{},
		PastDueGrace: 14 * subscription.Day,
	})
}

// bare expires as many in each transaction, by one statement, and stores the same events.
func (s *schedulerBench) bare(ctx context.Context) error {
	for {
		var n int
		err := s.db.WithinTx(ctx, func(ctx context.Context) error {
			now := s.clock.Now()
			rows, err := s.db.Conn(ctx).QueryContext(ctx, `UPDATE subscriptions SET status = 'expired', version = version + 1,
				updated_at = $1 WHERE id IN (SELECT id FROM subscriptions WHERE status = 'trialing' AND deleted_at IS NULL
				AND trial_ends_at <= $1 ORDER BY trial_ends_at LIMIT $2 FOR UPDATE SKIP LOCKED)
				RETURNING id, user_id, version, trial_ends_at`, now, endingBatch)
			if err != nil {
				return err
			}
			events, err := expiredEvents(rows, now)
			n = len(events)
			if err != nil || n == 0 {
				return err
			}
			return s.events.Publish(ctx, events...)
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

func expiredEvents(rows *sql.Rows, now time.Time) (events []event.Event, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id, userID uuid.UUID
		var version int64
		var end time.Time
		if err := rows.Scan(&id, &userID, &version, &end); err != nil {
			return nil, err
		}
		events = append(events, event.Event{
			ID:   event.NewID(),
			Key:  event.SubscriptionCancelled,
			Time: now,
			Data: event.SubscriptionCancelledData{
				Version: version, SubscriptionID: id.String(), UserID: userID.String(), PlanCode: "free", PreviousStatus: "trialing",
				NewStatus: "expired", CancelledAt: now, CancellationReason: "trial_expired", EffectiveUntil: &end,
			},
		})
	}
	return events, rows.Err()
}

// nobody is to be reminded: these trials have ended.
type nobody struct{}

func (nobody) Recipients(context.Context, []string) (map[string]subscription.Recipient, error) {
	return nil, nil
}

type unobserved struct{}

func (unobserved) Expired(subscription.Status)    {}
func (unobserved) Reminded(int)                   {}
func (unobserved) PassedOver(string, bool, error) {}
func (unobserved) SchedulerHealth(error)          {}
