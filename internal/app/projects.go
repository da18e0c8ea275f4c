package app

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/internal/project/repository/redispubsub"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	"github.com/smap-platform/identity/pkg/lifecycle"
)

// progress is everything about how far projects are. Both roles count; the api has those who watch, the consumer the
// sweeper.
type progress struct {
	counting  *projects.Counting
	tracker   tracker // the same for batches of invitations
	sweeper   *projects.Sweeper
	reading   *projects.Reading
	watcher   *redispubsub.Subscriber
	publisher *redispubsub.Publisher
}

func (p *parts) progress(publisher event.Publisher) *progress {
	store := redisdb.New(p.redis)
	updates := redispubsub.NewPublisher(redispubsub.PublisherOptions{
		Client:   p.cache,
		OnOutage: p.tellOutage("progress is not announced to those who watch live"),
	})
	watcher := redispubsub.NewSubscriber(redispubsub.SubscriberOptions{
		Client:   p.cache,
		Reader:   store,
		OnOutage: p.tellOutage("those who watch a project live hear of changes later"),
	})
	deps := projects.Deps{
		Tx:          p.db,
		Clock:       p.clock,
		Progress:    store,
		Open:        store,
		Completions: projectsql.NewCompletions(p.db),
		Events:      publisher,
		Listener:    closer{authentications.NewBatchCloser(authsql.NewBatches(p.db), authsql.NewUsers(p.db), publisher)},
		Updates:     updates,
		Observer:    &projectObserver{p.log, p.metrics},
	}
	counting := projects.NewCounting(deps)
	return &progress{
		counting:  counting,
		tracker:   tracker{counting, store},
		sweeper:   projects.NewSweeper(deps),
		reading:   projects.NewReading(projects.ReadingDeps{Progress: store, Watcher: watcher}),
		watcher:   watcher,
		publisher: updates,
	}
}

// announcing is the role that tells those who watch.
func (p *progress) announcing() lifecycle.Role {
	return lifecycle.Role{Name: "announcer", Run: p.publisher.Run}
}

// listening is the role that hears of changes, for those who watch at this process.
func (p *progress) listening() lifecycle.Role {
	return lifecycle.Role{Name: "live progress", Run: p.watcher.Run}
}

// upkeep is what a consumer does beside the queues.
func (p *parts) upkeep(progress *progress) []lifecycle.Role {
	return []lifecycle.Role{
		{Name: "sweeper", Run: progress.sweeper.Run}, {Name: "repairer", Run: p.repairer(progress.tracker).Run}, p.purging(),
	}
}

// tellOutage logs an outage of Redis once, and its end.
func (p *parts) tellOutage(what string) func(error) {
	return func(err error) {
		if err != nil {
			p.log.Warn().Err(err).Msg("redis is away: " + what)
			return
		}
		p.log.Info().Msg("redis is back: no longer the case that " + what)
	}
}

// projectObserver writes down what is answered to nobody.
type projectObserver struct {
	log     zerolog.Logger
	metrics *metrics
}

// Completed implements project.Observer.
func (o *projectObserver) Completed(c project.Completion) {
	o.metrics.projectsCompleted.Inc()
	o.log.Info().Str("project_id", c.ProjectID).Int64("total", c.Total).Int64("done", c.Done).Int64("errors", c.Errors).
		Msg("project completed")
}

// SignalFailed implements project.Observer.
func (o *projectObserver) SignalFailed(projectID string, err error) {
	o.log.Warn().Err(err).Str("project_id", projectID).Msg("job.completed was not handed over yet; the sweeper will")
}

// SweepHealth implements project.Observer.
func (o *projectObserver) SweepHealth(err error) {
	if err != nil {
		o.log.Warn().Err(err).Msg("open projects cannot be looked at; tried again every few seconds")
		return
	}
	o.log.Info().Msg("open projects are looked at again")
}

// closer lets authentication hear of completed projects: some are batches of invitations.
type closer struct{ batches *authentications.BatchCloser }

// ProjectCompleted implements project.CompletionListener.
func (c closer) ProjectCompleted(ctx context.Context, done project.Completion) error {
	return c.batches.ProjectCompleted(ctx, authentications.CompletedProject{
		ProjectID: done.ProjectID, Total: done.Total, Done: done.Done, Errors: done.Errors, CompletedAt: done.CompletedAt,
	})
}

// tracker lets authentication count its invitations: neither domain imports the other.
type tracker struct {
	counting *projects.Counting
	reader   project.ProgressReader
}

var _ authentication.ProgressTracker = tracker{}

// Begin implements authentication.ProgressTracker.
func (t tracker) Begin(ctx context.Context, projectID, owner string) error {
	_, err := t.counting.Init(ctx, projectID, owner, 0)
	return ignoreFinal(err)
}

// Forget implements authentication.ProgressTracker.
func (t tracker) Forget(ctx context.Context, projectID string) error {
	return t.counting.Forget(ctx, projectID)
}

// Open implements authentication.ProgressTracker. The total of a batch is final from the start.
func (t tracker) Open(ctx context.Context, projectID, owner string, total int64) error {
	if _, err := t.counting.Init(ctx, projectID, owner, total); err != nil {
		return ignoreFinal(err)
	}
	_, err := t.counting.SetTotal(ctx, projectID, total, true)
	return ignoreFinal(err)
}

// Mark implements authentication.ProgressTracker.
func (t tracker) Mark(ctx context.Context, projectID string, items []authentication.TrackedItem) error {
	converted := make([]project.Item, len(items))
	for i, item := range items {
		converted[i] = project.Item(item)
	}
	_, err := t.counting.Mark(ctx, projectID, converted)
	if errors.Is(err, project.ErrNotFound) {
		return nil
	}
	return ignoreFinal(err)
}

// State implements authentication.ProgressTracker. A project without a total was begun by somebody who died since.
func (t tracker) State(ctx context.Context, projectID string) (found, final bool, err error) {
	p, err := t.reader.Progress(ctx, projectID)
	return p.Found() && p.Total > 0, p.Status.Final(), err
}

func ignoreFinal(err error) error {
	if errors.Is(err, project.ErrFinal) {
		return nil
	}
	return err
}

// completionLife is how long it is remembered that a project was announced: far longer than it can still be counted.
const completionLife = 30 * 24 * time.Hour
