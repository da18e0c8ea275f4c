package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/fanout"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/notification/render"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/lifecycle"
	"github.com/smap-platform/identity/pkg/mailer"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
	"github.com/smap-platform/identity/pkg/redis"
)

// broker is what the roles need of RabbitMQ, and what the in-process broker gives them as well.
type broker interface {
	event.Sender
	Check(ctx context.Context) (rabbitmq.ExchangeHealth, error)
	DeadLetters(ctx context.Context, q event.Queue) (int, error)
}

// parts is the infrastructure a process stands on. real and embedded (standalone.go) build it; everything else
// takes it as given.
type parts struct {
	cfg      config.Config
	phase    fanout.Phase
	log      zerolog.Logger
	db       *database.DB
	clock    *database.Clock
	redis    *goredis.Client // the state database
	cache    *goredis.Client // the cache database, and pub/sub
	broker   broker
	sealer   *outbox.Sealer
	renderer *render.Renderer
	metrics  *metrics
	tracing  *sdktrace.TracerProvider
	health   *health
	// base roles keep the infrastructure alive; they are stopped after everything that uses it.
	base []lifecycle.Role
}

// real connects to the servers the configuration names. Of them only the database has to be there.
func real(ctx context.Context, cfg config.Config, name, version string, log zerolog.Logger) (*parts, error) {
	db, err := database.Open(database.Options{
		Dialect: database.Postgres, DSN: cfg.Postgres.DSN(), MaxConns: cfg.Postgres.MaxConns,
	})
	if err != nil {
		return nil, err
	}
	redis.RouteLogs(log)
	publisher := rabbitmq.NewPublisher(rabbitconn.Options{
		URL: string(cfg.RabbitMQ.URL), Name: "identity-" + name + "-publisher", Log: log,
	}, rabbitmq.NewTopology(Queues(cfg)), rabbitmq.Other{
		Topology: rabbitmq.FanoutTopology(fanout.Exchange, fanout.Queue), AtOnce: fanout.Phase(cfg.Events.Phase).Declares(),
	})
	p := &parts{
		cfg: cfg, phase: fanout.Phase(cfg.Events.Phase), log: log, db: db, broker: publisher,
		redis: openState(cfg.Redis), cache: redis.Open(redis.Options{
			Addr: cfg.Redis.Addr(), Password: string(cfg.Redis.Password), DB: cfg.Redis.CacheDB,
		}),
		base: []lifecycle.Role{{Name: "rabbitmq publisher", Run: publisher.Run}},
	}
	if err := p.complete(ctx, name, version, cfg.Postgres.AutoMigrate); err != nil {
		return nil, err
	}
	p.base = append(p.base, lifecycle.Role{
		Name: "heartbeat", Run: fanout.NewHeartbeat(db, p.clock, name, version, p.phase, log).Run,
	})
	p.tellAboutRedis(ctx)
	return p, nil
}

// openState prepares a client of the state database. Everything done there may be done twice, so a command whose answer
// was lost is sent once more.
func openState(c config.Redis) *goredis.Client {
	return redis.Open(redis.Options{
		Addr: c.Addr(), Password: string(c.Password), DB: c.StateDB, Retries: 1, PoolSize: statePool,
	})
}

// statePool is how many connections one process has to the state database at most.
const statePool = 32

// tellAboutRedis says at the start what is missing there. Nothing waits for it.
func (p *parts) tellAboutRedis(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	warnings, err := redis.Warnings(ctx, p.redis)
	if err != nil {
		p.log.Warn().Err(err).Msg("redis is away: subscription states are written once it is back")
	}
	for _, w := range warnings {
		p.log.Warn().Str("warning", w).Msg("redis is not set up to keep state")
	}
}

// complete waits for the database and adds what real and embedded parts have in common.
func (p *parts) complete(ctx context.Context, name, version string, migrate bool) error {
	if err := waitForDatabase(ctx, p.db, p.cfg.Service.StartTimeout, p.log); err != nil {
		return err
	}
	if migrate {
		applied, err := schema.Up(ctx, p.db)
		if err != nil {
			return err
		}
		for _, step := range applied {
			p.log.Info().Str("migration", step).Msg("schema migrated")
		}
	}
	p.clock = database.NewClock(p.db)
	if err := p.clock.Sync(ctx); err != nil {
		return err
	}
	var err error
	if p.sealer, err = outbox.NewSealer(p.cfg.Secrets.EventsSeal); err != nil {
		return err
	}
	if p.renderer, err = render.New(); err != nil {
		return err
	}
	if p.tracing, err = newTracing(ctx, p.cfg.Service, name, version); err != nil {
		return err
	}
	p.metrics = newMetrics(p.phase)
	p.metrics.registry.MustRegister(&outboxCollector{p.db, p.clock}, &deadLetterCollector{p.broker, Queues(p.cfg)})
	p.health = &health{db: p.db, redis: p.redis, broker: p.broker, version: version, phase: p.phase}
	p.base = append(p.base, lifecycle.Role{Name: "database clock", Run: p.clock.Run})
	return nil
}

// waitForDatabase tries until the database answers or the time is up.
func waitForDatabase(ctx context.Context, db *database.DB, timeout time.Duration, log zerolog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for told := false; ; told = true {
		err := ping(ctx, db)
		if err == nil {
			return nil
		}
		if !told {
			log.Warn().Err(err).Dur("patience_ms", timeout).Msg("the database does not answer yet")
		}
		timer := time.NewTimer(500 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("the database did not answer within START_TIMEOUT (%s): %w", timeout, err)
		}
	}
}

// ping has a deadline of its own: one try that hangs must not use up the patience for all.
func ping(ctx context.Context, db *database.DB) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return db.Ping(ctx)
}

// close lets go of what the roles have used, after they have ended.
func (p *parts) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for what, err := range map[string]error{
		"redis": errors.Join(p.redis.Close(), p.cache.Close()), "database": p.db.Close(), "tracing": p.tracing.Shutdown(ctx),
	} {
		if err != nil {
			p.log.Warn().Err(err).Str("part", what).Msg("closing failed")
		}
	}
}

func (p *parts) tracer() trace.Tracer { return p.tracing.Tracer("github.com/smap-platform/identity") }

// outbox answers a relay, and the publisher for use cases that wakes it.
func (p *parts) outbox() (*outbox.Relay, event.Publisher) {
	relay := outbox.NewRelay(p.db, p.sealer, p.clock, p.broker, &publishObserver{log: p.log, metrics: p.metrics},
		float64(p.cfg.Invitations.PerSecond), p.log)
	rows := outbox.NewPublisher(p.db, p.sealer, p.clock, relay.Wake)
	return relay, fanout.NewPublisher(p.phase, rows, rows, p.renderCode, p.digests())
}

func (p *parts) digests() fanout.Digests { return fanout.NewDigests(p.cfg.Secrets.EventsSeal) }

// renderCode writes the mail with a code: for the previous release's consumers, and to compare with what they got.
func (p *parts) renderCode(locale, code string, now, expiresAt time.Time) (subject, html string, err error) {
	r, err := p.renderer.Verification(locale, code, now, expiresAt)
	return r.Subject, r.HTML, err
}

// newMailer is the SMTP client of the configuration.
func newMailer(c config.SMTP) (*mailer.Mailer, error) {
	return mailer.New(mailer.Options{
		Host: c.Host, Port: c.Port, Username: c.Username, Password: string(c.Password), TLS: mailer.TLSMode(c.TLS),
		From: c.From, FromName: c.FromName, Timeout: c.Timeout,
	})
}

// listen binds a port as late as possible: a balancer that is let in waits, one that is refused goes elsewhere.
func listen(ctx context.Context, variable, host string, port int) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("%s: port %d cannot be used: %w", variable, port, err)
	}
	return l, nil
}
