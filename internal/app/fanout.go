package app

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/fanout"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
)

// figuresLag is how late the management API's figures can be, and a second more: a queue reports every 5 s, and what it
// reports is collected every 5 s.
const figuresLag = 11 * time.Second

// Fanout is the operator's view on the way off the previous release's fanout (docs/adr/0006).
type Fanout struct {
	db         *database.DB
	clock      *database.Clock
	connection rabbitconn.Options
	inspector  *rabbitmq.Inspector
	queues     []event.Queue
	pause      func(context.Context) error // between two looks
}

// NewFanout answers the tool for the database and broker of the configuration. A database that lacks a migration is an
// error.
func NewFanout(ctx context.Context, cfg config.Config, db *database.DB, log zerolog.Logger) (*Fanout, error) {
	if err := schema.Current(ctx, db); err != nil {
		return nil, err
	}
	clock := database.NewClock(db)
	if err := clock.Sync(ctx); err != nil {
		return nil, err
	}
	connection := rabbitconn.Options{URL: string(cfg.RabbitMQ.URL), Name: "identity-fanout", Log: log}
	return &Fanout{
		db: db, clock: clock, connection: connection, queues: Queues(cfg), pause: waitForFigures,
		inspector: rabbitmq.NewInspector(connection, string(cfg.RabbitMQ.ManagementURL)),
	}, nil
}

// Facts gathers what there is to know. Comparisons are counted from since ago on.
func (f *Fanout) Facts(ctx context.Context, since time.Duration) (facts fanout.Facts, err error) {
	now := f.clock.Now()
	facts.At = now
	if facts.Processes, err = fanout.ReadProcesses(ctx, f.db, now.Add(-fanout.Recently)); err != nil {
		return facts, err
	}
	if facts.Shadows, err = fanout.ReadShadows(ctx, f.db, now.Add(-since)); err != nil {
		return facts, err
	}
	if facts.Waiting, err = outbox.Waiting(ctx, f.db, fanout.Exchange); err != nil {
		return facts, err
	}
	found, err := f.inspector.Inspect(ctx, fanout.Exchange, f.names())
	if err != nil {
		return facts, err
	}
	facts.Topic, facts.Fanout, facts.Unknown = found.Topic, found.Fanout, found.Unknown
	facts.Bindings, facts.OfTopic = found.Bindings, found.OfTopic
	told := map[string]bool{fanout.Queue: true}
	facts.Old = found.Queue(fanout.Queue)
	for _, q := range f.queues {
		l := ladder(found, q)
		switch q.Name {
		case EmailQueue:
			facts.Email = l
		case LegacyQueue:
			facts.Legacy = l
		default:
			continue
		}
		for _, name := range namesOf(q) {
			told[name] = true
		}
	}
	facts.Others = []event.QueueState{}
	for _, q := range found.Queues {
		if !told[q.Name] {
			facts.Others = append(facts.Others, q)
		}
	}
	return facts, nil
}

// names are the queues to look at: the previous release's and all of ours.
func (f *Fanout) names() []string {
	names := []string{fanout.Queue}
	for _, q := range f.queues {
		names = append(names, namesOf(q)...)
	}
	return names
}

func namesOf(q event.Queue) []string {
	names := []string{q.Name}
	for i := range q.Retry.Levels {
		names = append(names, q.RetryQueue(i))
	}
	return append(names, q.DeadQueue())
}

func ladder(found rabbitmq.Inspection, q event.Queue) fanout.Ladder {
	l := fanout.Ladder{Main: found.Queue(q.Name), Dead: found.Queue(q.DeadQueue())}
	for i := range q.Retry.Levels {
		l.Retry = append(l.Retry, found.Queue(q.RetryQueue(i)))
	}
	return l
}

// Cleanup is what became of a cleanup. Nothing is Removed unless the Verdict is safe.
type Cleanup struct {
	Verdict fanout.Verdict
	Removed []string // in their order; with a dry run, what would have been
}

// CleanUp deletes the previous release's queue and exchange if JudgeCleanup lets it, or only tells what it would delete.
// It looks twice, as far apart as the management API's figures can be late: what is in flight at the first look shows in
// the second. What is deleted before an error stays in Removed. While neither exists there is nothing to judge.
func (f *Fanout) CleanUp(ctx context.Context, dryRun bool) (Cleanup, error) {
	var c Cleanup
	facts, err := f.Facts(ctx, 0)
	if err != nil {
		return c, err
	}
	if !facts.Old.Exists && !facts.Fanout.Exists {
		c.Verdict.Safe = true
		return c, nil
	}
	if c.Verdict = fanout.JudgeCleanup(facts); !c.Verdict.Safe {
		return c, nil
	}
	if err := f.pause(ctx); err != nil {
		return c, err
	}
	if facts, err = f.Facts(ctx, 0); err != nil {
		return c, err
	}
	if c.Verdict = fanout.JudgeCleanup(facts); !c.Verdict.Safe {
		return c, nil
	}
	removed := func(what string) { c.Removed = append(c.Removed, what) }
	if !dryRun {
		err := rabbitmq.RemoveFanout(ctx, f.connection, fanout.Exchange, fanout.Queue, removed)
		return c, err
	}
	if facts.Old.Exists {
		removed("queue " + fanout.Queue)
	}
	if facts.Fanout.Exists {
		removed("exchange " + fanout.Exchange)
	}
	return c, nil
}

func waitForFigures(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(figuresLag):
		return nil
	}
}
