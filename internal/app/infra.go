package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/notification/render"
	progressredis "github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/internal/project/repository/redispubsub"
	"github.com/smap-platform/identity/internal/schema"
	subscriptionredis "github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
	"github.com/smap-platform/identity/pkg/redis"
)

// statePool is how many connections one process has to the state database at most.
const statePool = 32

// broker is what a process needs of RabbitMQ, or of the in-process broker in its place.
type broker interface {
	event.Sender
	Check(ctx context.Context) (rabbitmq.ExchangeHealth, error)
	Depths(ctx context.Context, names []string) (map[string]event.Depth, error)
}

// consumer runs the handlers of queues until its context ends.
type consumer interface {
	Run(ctx context.Context) error
	Err() error // why some queue is not being consumed right now; nil: each is
}

// transactor runs the use cases' transactions; in production the database does.
type transactor interface {
	WithinTxRetry(ctx context.Context, fn func(ctx context.Context) error) error
}

// infra is what a process stands on: servers in production, embedded parts in the standalone. Everything else takes it
// as given.
type infra struct {
	cfg     config.Config
	process process
	version string
	log     zerolog.Logger

	unknownClient sync.Once     // the warning about them
	streamCheck   time.Duration // in place of [projecthttp.CheckEvery]; tests have no minute

	db     *database.DB
	tx     transactor // the use cases' transactions
	longTx transactor // of the few that do the work of many
	clock  *database.Clock
	state  *goredis.Client // the state database
	cache  *goredis.Client // the cache database, and pub/sub
	broker broker
	// publisher is the broker in production, as the role that keeps its connection.
	publisher *rabbitmq.Publisher
	letters   letterWalker
	// newConsumer connects queues and handlers to the broker.
	newConsumer func([]event.Consumer) consumer

	sealer   *outbox.Sealer
	renderer *render.Renderer
	metrics  *metrics
	lanes    []*event.Lane // of a consumer: how the queues are that send mail
	tracing  *sdktrace.TracerProvider
	health   *health
	embedded *embedded // nil in production
	legacy   *wing
	// ownLimits are those of routes that only this kind of process has.
	ownLimits map[string]httpserver.Limits
}

// production connects to the servers that cfg names. Only the database has to be there.
func production(ctx context.Context, cfg config.Config, p process, version string, log zerolog.Logger) (*infra, error) {
	for _, warning := range cfg.Warnings() {
		log.Warn().Str("problem", warning).Msg("the value of a secret looks like a mistake; check it")
	}
	db, err := database.Open(database.Options{
		Dialect:  database.Postgres,
		DSN:      cfg.Postgres.DSN(),
		MaxConns: cfg.Postgres.MaxConns,
		ExecMode: database.ExecMode(cfg.Postgres.ExecMode),
	})
	if err != nil {
		return nil, err
	}
	redis.RouteLogs(log)
	connection := func(purpose string) rabbitconn.Options {
		return rabbitconn.Options{URL: string(cfg.RabbitMQ.URL), Name: "identity-" + purpose, Log: log}
	}
	topology := rabbitmq.NewTopology(Queues(cfg))
	in := &infra{
		cfg:     cfg,
		process: p,
		version: version,
		log:     log,
		db:      db,
	}
	in.publisher = rabbitmq.NewPublisher(connection(p.name()+"-publisher"), topology)
	in.broker = in.publisher
	in.letters = rabbitmq.NewDeadLetters(connection(p.name()+"-dlq"), Queues(cfg))
	in.newConsumer = func(consumers []event.Consumer) consumer {
		return rabbitmq.NewConsumer(rabbitmq.ConsumerOptions{
			Connection:   connection(p.name()),
			Sender:       in.broker,
			Now:          in.clock.Now,
			DrainTimeout: cfg.Service.ShutdownTimeout / 2,
			StaleAck:     func(queue string) { in.metrics.staleAcks.WithLabelValues(queue).Inc() },
		}, consumers)
	}
	if err := in.prepare(ctx, cfg.Postgres.AutoMigrate); err != nil {
		return nil, err
	}
	in.lookAhead(ctx)
	return in, nil
}

// openState returns a client of the state database. Every command there may be repeated, so one whose reply was lost is
// sent once more.
func openState(c config.Redis) *goredis.Client {
	o := redisOptions(c, c.StateDB)
	o.Retries, o.PoolSize = 1, statePool
	return redis.Open(o)
}

// openCache returns a client of the cache database.
func openCache(c config.Redis) *goredis.Client { return redis.Open(redisOptions(c, c.CacheDB)) }

func redisOptions(c config.Redis, db int) redis.Options {
	return redis.Options{
		Addr:             c.Addr(),
		Username:         c.Username,
		Password:         string(c.Password),
		TLS:              c.TLS,
		DB:               db,
		Sentinels:        c.Sentinels,
		Master:           c.SentinelMaster,
		SentinelPassword: string(c.SentinelPassword),
	}
}

// probeKey is the key that this process's health check writes.
func (in *infra) probeKey() string { return "identity:probe:" + in.process.name() }

// checkRedis is [redis.Check] for both databases: of the one for live progress it only asks whether its channels can be
// used.
func (in *infra) checkRedis(ctx context.Context) (warnings []string, err error) {
	const other = "probe" // no project and no user of this id: these keys are named, not written
	warnings, err = redis.Check(ctx, in.state, in.probeKey(),
		progressredis.Key(other), progressredis.OwnerKey(other), subscriptionredis.Key(other), progressredis.OpenKey)
	switch {
	case err != nil && in.cfg.Redis.TLS:
		return nil, fmt.Errorf("with REDIS_TLS: %w", err) // a server without TLS only hangs up
	case err != nil:
		return nil, err
	}
	if err := redis.CheckChannels(ctx, in.cache, redispubsub.Patterns()...); err != nil {
		return nil, fmt.Errorf("live progress (REDIS_CACHE_DB): %w", err)
	}
	return warnings, nil
}

// lookAhead asks the database and Redis what the first probe will ask, and logs what keeps Redis from keeping state.
func (in *infra) lookAhead(ctx context.Context) {
	go in.health.database.state(ctx)
	go in.warnAboutRedis(ctx)
}

func (in *infra) warnAboutRedis(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askerTimeout)
	defer cancel()
	d := in.health.redis.state(ctx)
	if !d.ok() {
		in.log.Warn().Str("reason", d.Error).
			Msg("redis cannot keep state; subscription states are written, and items counted, once it can")
	}
	for _, w := range d.Warnings {
		in.log.Warn().Str("warning", w).Msg("redis is not set up as it should be")
	}
}

// prepare waits for the database, migrates it where asked to, and adds what both kinds of infrastructure share.
func (in *infra) prepare(ctx context.Context, migrate bool) error {
	in.tx, in.longTx = in.db, in.db.WithTxTimeout(inviteTx)
	in.state, in.cache = openState(in.cfg.Redis), openCache(in.cfg.Redis)
	if err := waitForDatabase(ctx, in.db, in.cfg.Service.StartTimeout, in.log); err != nil {
		return err
	}
	if migrate {
		applied, err := schema.Up(ctx, in.db)
		if err != nil {
			return err
		}
		for _, step := range applied {
			in.log.Info().Str("migration", step).Msg("schema migrated")
		}
	}
	var err error
	if in.clock, err = startClock(ctx, in.db); err != nil {
		return err
	}
	if in.sealer, err = newSealer(in.cfg.Secrets); err != nil {
		return err
	}
	if in.renderer, err = render.New(); err != nil {
		return err
	}
	if in.tracing, err = newTracing(ctx, in.cfg.Service, in.process.name(), in.version); err != nil {
		return err
	}
	in.metrics = newMetrics()
	in.metrics.registry.MustRegister(in.userGauges())
	in.legacy = newWing(in)
	in.health = newHealth(in)
	for _, risk := range in.cfg.Risks() {
		in.log.Warn().Str("problem", risk).Msg("a setting leaves a door open; change it")
	}
	return nil
}

// handlerTimeout bounds every handler. It is twice the mail server's own deadline, for the conversation and its record.
func (in *infra) handlerTimeout() time.Duration { return 2 * in.cfg.SMTP.Timeout }

// tracer returns what begins spans; in a command none.
func (in *infra) tracer() trace.Tracer {
	if in.tracing == nil {
		return noop.NewTracerProvider().Tracer("")
	}
	return in.tracing.Tracer("github.com/smap-platform/identity")
}

// close closes what the roles have used, after they have ended.
func (in *infra) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for what, err := range map[string]error{
		"redis":    errors.Join(in.state.Close(), in.cache.Close()),
		"database": in.db.Close(),
		"tracing":  in.tracing.Shutdown(ctx),
	} {
		if err != nil {
			in.log.Warn().Err(err).Str("part", what).Msg("closing failed")
		}
	}
}

// startClock returns a clock that follows the database's time.
func startClock(ctx context.Context, db *database.DB) (*database.Clock, error) {
	clock := database.NewClock(db)
	return clock, clock.Sync(ctx)
}

// waitForDatabase tries until the database responds or timeout is over.
func waitForDatabase(ctx context.Context, db *database.DB, timeout time.Duration, log zerolog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for logged := false; ; logged = true {
		err := ping(ctx, db)
		if err == nil {
			return nil
		}
		if database.IsPooled(err) {
			return fmt.Errorf("the database %s: %w", database.Reason(err), err)
		}
		if !logged {
			log.Warn().Err(err).Str("reason", "the database "+database.Reason(err)).Dur("patience_ms", timeout).
				Msg("the database does not respond yet")
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the database did not respond within START_TIMEOUT (%s): it %s: %w",
				timeout, database.Reason(err), err)
		}
	}
}

// ping has a deadline of its own: one try that hangs must not use up the time for all.
func ping(ctx context.Context, db *database.DB) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return db.Ping(ctx)
}

// culprit returns the setting that keeps a process from listening: HOST when no port can be had there, else variable.
func culprit(ctx context.Context, host, variable string) string {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "HOST"
	}
	_ = l.Close()
	return variable
}

// listen binds a port and logs message. The error names the setting, variable.
func (in *infra) listen(ctx context.Context, variable string, port int, message string) (net.Listener, error) {
	l, err := httpserver.Listen(ctx, net.JoinHostPort(in.cfg.HTTP.Host, strconv.Itoa(port)))
	if err != nil {
		variable = culprit(ctx, in.cfg.HTTP.Host, variable)
		return nil, fmt.Errorf("%s: port %d of %s cannot be used: %w", variable, port, in.cfg.HTTP.Host, err)
	}
	in.log.Info().Str("address", l.Addr().String()).Str("phase", string(in.phase())).Msg(message)
	return l, nil
}
