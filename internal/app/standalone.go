package app

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/labstack/echo/v4"
	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/fanout"
	"github.com/smap-platform/identity/internal/event/inprocess"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/inbox"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/lifecycle"
	"github.com/smap-platform/identity/pkg/redis"
)

// Standalone is both roles in one process on embedded parts: SQLite, a broker and a Redis in memory, and an inbox
// that takes every mail. The roles are the very same; what is missing is what the servers give: events waiting in
// the broker, and state in Redis, end with the process. It is for a laptop, an evaluation, a test.
type Standalone struct {
	parts  *parts
	broker *inprocess.Broker
	redis  *miniredis.Miniredis
	inbox  *inbox.Inbox
	api    net.Listener
	worker net.Listener
	web    *echo.Echo
	roles  [][]lifecycle.Role
}

// embeddedBroker adds the health check that RabbitMQ's publisher has.
type embeddedBroker struct{ *inprocess.Broker }

func (embeddedBroker) Check(context.Context) (rabbitmq.ExchangeHealth, error) {
	return rabbitmq.ExchangeHealth{Name: event.Exchange, Type: "topic", Durable: false}, nil
}

func (b embeddedBroker) DeadLetters(_ context.Context, q event.Queue) (int, error) {
	return len(b.Dead(q.Name)), nil
}

// NewStandalone builds everything and binds the ports; nothing is served before Run. Secrets that cfg lacks are made
// and kept in DATA_DIR.
func NewStandalone(ctx context.Context, cfg config.Config, version string, log zerolog.Logger) (*Standalone, error) {
	if err := os.MkdirAll(cfg.Embedded.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("DATA_DIR: %w", err)
	}
	if err := fillSecrets(&cfg.Secrets, cfg.Embedded.DataDir); err != nil {
		return nil, err
	}
	s := &Standalone{}
	if err := s.listen(ctx, &cfg, log); err != nil {
		return nil, err
	}
	if err := cfg.Validate(config.Standalone); err != nil {
		return nil, err
	}
	if err := s.build(ctx, cfg, version, log); err != nil {
		return nil, err
	}
	return s, nil
}

// listen binds every port, and tells cfg where the inbox takes mail.
func (s *Standalone) listen(ctx context.Context, cfg *config.Config, log zerolog.Logger) (err error) {
	if s.api, err = listen(ctx, "APP_PORT", cfg.HTTP.Host, cfg.HTTP.AppPort); err != nil {
		return err
	}
	if s.worker, err = listen(ctx, "CONSUMER_PORT", cfg.HTTP.Host, cfg.HTTP.ConsumerPort); err != nil {
		return err
	}
	s.inbox = inbox.New(inbox.Options{
		SMTPAddr: net.JoinHostPort(cfg.SMTP.Host, strconv.Itoa(cfg.SMTP.Port)), // loopback, whatever HOST is
		HTTPAddr: net.JoinHostPort(cfg.HTTP.Host, strconv.Itoa(cfg.Embedded.InboxPort)), Log: log,
	})
	if err := s.inbox.Listen(); err != nil {
		return fmt.Errorf("SMTP_PORT, INBOX_PORT: %w", err)
	}
	_, port, err := net.SplitHostPort(s.inbox.SMTPAddr())
	if err != nil {
		return err
	}
	cfg.SMTP.Port, err = strconv.Atoi(port)
	return err
}

// build makes the embedded twin of real's parts and lists the roles of both binaries.
func (s *Standalone) build(ctx context.Context, cfg config.Config, version string, log zerolog.Logger) error {
	db, err := database.Open(database.Options{Dialect: database.SQLite, DSN: embeddedDatabase(cfg)})
	if err != nil {
		return err
	}
	s.redis = miniredis.NewMiniRedis()
	if err := s.redis.Start(); err != nil {
		return fmt.Errorf("the embedded redis: %w", err)
	}
	queues := Queues(cfg)
	s.broker = inprocess.New(queues, inprocess.Options{Now: time.Now, DrainTimeout: cfg.Service.ShutdownTimeout / 2, Log: log})
	s.parts = &parts{
		cfg: cfg, phase: fanout.Complete, log: log, db: db, broker: embeddedBroker{s.broker},
		redis: redis.Open(redis.Options{Addr: s.redis.Addr(), DB: cfg.Redis.StateDB, PoolSize: statePool}),
		cache: redis.Open(redis.Options{Addr: s.redis.Addr(), DB: cfg.Redis.CacheDB}),
	}
	if err := s.parts.complete(ctx, "standalone", version, true); err != nil {
		return err
	}
	s.parts.health.embedded = true
	relay, publisher := s.parts.outbox()
	progress := s.parts.progress(publisher)
	domains, err := s.parts.domains(progress.counting)
	if err != nil {
		return err
	}
	consumers := domains.consumers(queues, s.parts.mailLease(), s.parts.clock.Now, &consumeObserver{log, s.parts.tracer(), s.parts.metrics})
	s.web = s.parts.web(s.parts.accounts(publisher, s.parts.passwords(), progress.tracker), progress)
	s.roles = [][]lifecycle.Role{
		{s.parts.serving("http", s.web, s.api)},
		append(s.parts.upkeep(progress), lifecycle.Role{Name: "relay", Run: relay.Run}, progress.announcing(), progress.listening()),
		{{Name: "consumer", Run: func(ctx context.Context) error { return s.broker.Consume(ctx, consumers) }}},
		append(s.parts.base, s.parts.serving("monitor", s.parts.monitor(), s.worker),
			lifecycle.Role{Name: "inbox", Run: s.inbox.Run}, lifecycle.Role{Name: "embedded redis", Run: s.passTime}),
	}
	return nil
}

// embeddedDatabase is the file of the standalone's database.
func embeddedDatabase(cfg config.Config) string {
	return filepath.Join(cfg.Embedded.DataDir, "identity.db")
}

// passTime lets keys expire: the embedded Redis has no clock of its own.
func (s *Standalone) passTime(ctx context.Context) error {
	defer s.redis.Close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.redis.FastForward(time.Second)
		}
	}
}

// Run serves until ctx ends, and answers nil after an orderly stop.
func (s *Standalone) Run(ctx context.Context) error {
	defer s.parts.close()
	return lifecycle.Run(ctx, s.parts.log, s.parts.cfg.Service.ShutdownTimeout, s.roles...)
}

// APIURL is where people are served.
func (s *Standalone) APIURL() string { return "http://" + s.api.Addr().String() }

// MonitorURL is where health and metrics of the consumer's side are.
func (s *Standalone) MonitorURL() string { return "http://" + s.worker.Addr().String() }

// InboxURL is where mails are shown.
func (s *Standalone) InboxURL() string { return s.inbox.URL() }

// Inbox is where every mail ends.
func (s *Standalone) Inbox() *inbox.Inbox { return s.inbox }

// Tap answers a copy of every message on the exchange whose key matches pattern, until stop is called.
func (s *Standalone) Tap(pattern string) (messages <-chan event.Message, stop func()) {
	return s.broker.Tap(pattern)
}

// Redis is a client of the state database.
func (s *Standalone) Redis() *goredis.Client { return s.parts.redis }
