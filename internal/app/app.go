package app

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/heartbeat"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	progressredis "github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/internal/project/repository/redispubsub"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/mailer"
)

// inviteTx bounds the transaction of one upload.
const inviteTx = 2 * time.Minute

// App is one process of the service: api, consumer, or both on embedded parts. Its fields are what roles.go runs.
type App struct {
	*infra

	owingOff bool // see WithoutOwedMails

	relay     *outbox.Relay
	heartbeat *heartbeat.Heartbeat
	started   time.Time
	progress  *progress

	// The api's side.
	passwords      authentication.PasswordHasher
	authentication *authentications.UseCase
	web            *echo.Echo
	apiListener    net.Listener
	// internal is web unless INTERNAL_PORT is set.
	internal         *echo.Echo
	internalListener net.Listener

	// The consumer's side.
	sweeper         *projects.Sweeper
	scheduler       *subscriptions.Scheduler
	repairer        *invitations.Repairer
	consumer        consumer
	mail            *mailer.Mailer
	pausesKnown     bool // which lanes a person has paused has been read once
	pausesUnread    bool // it could not be read the last time
	monitor         *echo.Echo
	monitorListener net.Listener
	operations      operations
}

// Option changes how an App is composed.
type Option func(*App)

// WithPasswords has h hash the passwords. It is for load tests, which would otherwise measure the hashing.
func WithPasswords(h authentication.PasswordHasher) Option {
	return func(a *App) { a.passwords = h }
}

// NewAPI returns the api on the servers that cfg names, of which only the database has to be there. Its port is bound;
// nothing is served before Run.
func NewAPI(ctx context.Context, cfg config.Config, version string, log zerolog.Logger, o ...Option) (*App, error) {
	return newOnServers(ctx, cfg, inAPI, version, log, o...)
}

// NewConsumer is [NewAPI] for the event side: the queues, a relay, and a small HTTP server for health and metrics.
func NewConsumer(ctx context.Context, cfg config.Config, version string, log zerolog.Logger) (*App, error) {
	return newOnServers(ctx, cfg, inConsumer, version, log)
}

func newOnServers(
	ctx context.Context, cfg config.Config, p process, version string, log zerolog.Logger, options ...Option,
) (*App, error) {
	in, err := production(ctx, cfg, p, version, log)
	if err != nil {
		return nil, err
	}
	return assemble(ctx, in, options...)
}

// assemble builds what the process's roles run, in the order in which one part needs another.
func assemble(ctx context.Context, in *infra, options ...Option) (*App, error) {
	a := &App{infra: in}
	for _, set := range options {
		set(a)
	}
	// Events leave through the outbox, in the transaction of what they report.
	a.relay = outbox.NewRelay(in.db, in.sealer, in.clock, in.broker, &publishObserver{in.log, in.tracer(), in.metrics},
		float64(in.cfg.Invitations.PerSecond), in.log)
	in.metrics.watchSealing(func() int { return a.relay.Foreign() + in.legacy.relay.Foreign() })
	in.health.sealing = func() error { return errors.Join(a.relay.KeyError(), in.legacy.relay.KeyError()) }
	rows := outbox.NewPublisher(in.db, in.sealer, in.clock, a.relay.Wake)
	events := in.legacy.publisher(rows)
	if !a.owingOff {
		events = in.owing(events)
	}
	if in.embedded != nil {
		events = recordingPublisher{events, in.db, in.embedded.recorder}
	}
	a.heartbeat = heartbeat.New(heartbeat.Deps{
		DB:      in.db,
		Clock:   in.clock,
		Role:    in.process.name(),
		Version: in.version,
		Note:    string(in.phase()),
		Report:  func(ctx context.Context) string { return a.report(ctx).String() },
		Log:     in.log,
	})
	a.started = in.clock.Now()
	a.watchStatus()
	a.progress = in.newProgress(events)
	in.log.Info().Str("channels", in.cfg.Redis.ProgressChannels).
		Msg("live progress is published; PROGRESS_CHANNELS has to match the WebSocket service")
	if in.process&(inAPI|inStandalone) != 0 {
		a.assembleAPI(events)
	}
	if in.process&(inConsumer|inStandalone) != 0 {
		if err := a.assembleConsumer(events); err != nil {
			return nil, err
		}
		a.readPauses(ctx)
		a.assembleOperations(events)
	}
	return a, a.bind(ctx)
}

// progress is how far projects are. The api serves those who ask and watch, the consumer counts and sweeps.
type progress struct {
	deps    projects.Deps
	store   *progressredis.Store
	count   *projects.Counting
	updates *redispubsub.Publisher
	watcher *redispubsub.Subscriber
}

func (in *infra) newProgress(events event.Publisher) *progress {
	channels := in.cfg.Redis.ProgressChannels
	p := &progress{store: progressredis.New(in.state)}
	p.updates = redispubsub.NewPublisher(redispubsub.PublisherOptions{
		Client:   in.cache,
		Channels: redispubsub.Channels(channels),
		OnOutage: in.logOutage("live progress is not published"),
	})
	p.watcher = redispubsub.NewSubscriber(redispubsub.SubscriberOptions{
		Client:   in.cache,
		Reader:   p.store,
		OnOutage: in.logOutage("live progress is delayed"),
	})
	p.deps = projects.Deps{
		Tx:          in.tx,
		Clock:       in.clock,
		Progress:    p.store,
		Open:        p.store,
		Completions: projectsql.NewCompletions(in.db),
		Events:      events,
		Listener: batchCloser{invitations.NewCloser(invitations.CloserDeps{
			Batches:  invitationsql.NewBatches(in.db),
			Accounts: accountFinder{authsql.NewUsers(in.db)},
			Events:   events,
		})},
		Updates:  p.updates,
		Observer: &projectObserver{in.log, in.metrics},
	}
	p.count = projects.NewCounting(p.deps)
	return p
}

// bind binds the process's ports as late as possible: a balancer that is let in waits, one that is refused goes
// elsewhere.
func (a *App) bind(ctx context.Context) (err error) {
	if a.web != nil {
		a.apiListener, err = a.listen(ctx, "APP_PORT", a.cfg.HTTP.AppPort, "api is serving")
	}
	if port := a.cfg.HTTP.InternalPort; a.web != nil && port != nil && err == nil {
		a.internalListener, err = a.listen(ctx, "INTERNAL_PORT", *port, "api is serving other services and operators")
	}
	if a.monitor != nil && err == nil {
		a.monitorListener, err = a.listen(ctx, "CONSUMER_PORT", a.cfg.HTTP.ConsumerPort, "consumer is running")
	}
	if a.operations.web != nil && err == nil {
		err = a.bindOperations(ctx)
	}
	return err
}

// Authentication is what the api does for people who register and log in; nil in a consumer.
func (a *App) Authentication() *authentications.UseCase { return a.authentication }
