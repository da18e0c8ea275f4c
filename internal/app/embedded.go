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
	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/console"
	consolehttp "github.com/smap-platform/identity/internal/console/delivery/http"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/inprocess"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/inbox"
	invitationpage "github.com/smap-platform/identity/internal/invitation/delivery/page"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/lifecycle"
)

// embedded are the parts that stand in for servers: a broker and a Redis in memory, and an inbox that accepts every mail.
type embedded struct {
	broker *inprocess.Broker
	redis  *miniredis.Miniredis
	inbox  *inbox.Inbox
	// recorder keeps what the console shows of events.
	recorder *console.Recorder
	// consolePort returns where the console is, once it is bound.
	consolePort func() int
}

// Standalone is an App with both sides in one process on embedded parts. What it lacks is what servers give: events in
// flight and state in Redis end with the process. It is for a laptop, an evaluation, a test.
type Standalone struct{ *App }

// NewStandalone builds everything and binds the ports; nothing is served before Run. Secrets that cfg lacks are made
// and kept in DATA_DIR.
func NewStandalone(
	ctx context.Context, cfg config.Config, version string, log zerolog.Logger, o ...Option,
) (*Standalone, error) {
	if err := os.MkdirAll(cfg.Embedded.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("DATA_DIR: %w", err)
	}
	if err := fillSecrets(&cfg.Secrets, cfg.Embedded.DataDir); err != nil {
		return nil, err
	}
	in, err := embed(ctx, cfg, version, log)
	if err != nil {
		return nil, err
	}
	a, err := assemble(ctx, in, o...)
	if err != nil {
		return nil, err
	}
	in.embedded.consolePort = a.consolePort
	registerTimeTravel(a)
	registerConsole(a)
	return &Standalone{a}, nil
}

// embed returns the embedded twin of [production].
func embed(ctx context.Context, cfg config.Config, version string, log zerolog.Logger) (*infra, error) {
	in := &infra{process: inStandalone, version: version, log: log}
	if cfg.Invitations.URL == "" && cfg.HTTP.AppPort != 0 {
		cfg.Invitations.URL = ownPages(cfg.HTTP) + invitationpage.Accept + "#token={token}"
	}
	now := func() time.Time { return in.clock.Now() }
	parts := &embedded{redis: miniredis.NewMiniRedis(), recorder: console.NewRecorder(now)}
	parts.inbox = inbox.New(inbox.Options{
		SMTPAddr:  net.JoinHostPort(cfg.SMTP.Host, strconv.Itoa(cfg.SMTP.Port)), // loopback, whatever HOST is
		HTTPAddr:  net.JoinHostPort(inboxHost(cfg), strconv.Itoa(cfg.Embedded.InboxPort)),
		Log:       log,
		Hosts:     []string{cfg.HTTP.Host},
		FramePort: func() int { return parts.consolePort() },
	})
	parts.broker = inprocess.New(Queues(cfg), inprocess.Options{
		Now:          now,
		DrainTimeout: cfg.Service.ShutdownTimeout / 2,
		Log:          log,
		Watch:        recordMoves(parts.recorder),
	})
	if err := parts.inbox.Listen(); err != nil {
		return nil, fmt.Errorf("%s: %w", culprit(ctx, inboxHost(cfg), "SMTP_PORT, INBOX_PORT"), err)
	}
	cfg.SMTP.Port = parts.inbox.SMTPPort()
	if err := cfg.Validate(config.Standalone); err != nil {
		return nil, err
	}
	if err := parts.redis.Start(); err != nil {
		return nil, fmt.Errorf("the embedded redis: %w", err)
	}
	cfg.Redis.Host = parts.redis.Addr()
	options := embeddedDatabase(cfg)
	options.Watch = recordWrites(parts.recorder)
	db, err := database.Open(options)
	if err != nil {
		return nil, err
	}
	in.cfg, in.db, in.broker, in.embedded = cfg, db, embeddedBroker{parts.broker}, parts
	in.letters = embeddedBroker{parts.broker}
	in.ownLimits = consolehttp.Limits()
	in.newConsumer = func(consumers []event.Consumer) consumer { return embeddedConsumer{parts.broker, consumers} }
	if err := in.prepare(ctx, true); err != nil {
		return nil, err
	}
	in.state.AddHook(recordingRedis{parts.recorder})
	return in, nil
}

// ownPages returns where a browser finds the pages that the service brings itself.
func ownPages(h config.HTTP) string {
	host := h.Host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(h.AppPort))
}

// inboxHost returns where the inbox's page is. It shows every code, so it is for other machines only where they are
// meant to have it.
func inboxHost(cfg config.Config) string {
	if isOpen(cfg) {
		return cfg.HTTP.Host
	}
	return cfg.SMTP.Host // loopback
}

// isOpen reports whether those who reach the servers are meant to have all that a standalone shows.
func isOpen(cfg config.Config) bool { return cfg.HTTP.Local() || cfg.Embedded.Public }

// embeddedDatabase has the options of the standalone's database, a file.
func embeddedDatabase(cfg config.Config) database.Options {
	return database.Options{Dialect: database.SQLite, DSN: filepath.Join(cfg.Embedded.DataDir, "identity.db")}
}

// embeddedBroker adds what RabbitMQ's publisher reports.
type embeddedBroker struct{ *inprocess.Broker }

// Check implements broker.
func (embeddedBroker) Check(context.Context) (rabbitmq.ExchangeHealth, error) {
	return rabbitmq.ExchangeHealth{Name: event.Exchange, Type: "topic", Durable: false}, nil
}

// Depths implements broker.
func (b embeddedBroker) Depths(_ context.Context, names []string) (map[string]event.Depth, error) {
	return b.Broker.Depths(names), nil
}

// Walk implements letterWalker. It replays nothing.
func (b embeddedBroker) Walk(_ context.Context, queue string,
	decide func(rabbitmq.Letter) (rabbitmq.Handling, error), settled func(event.DeadLetter)) (seen int, err error) {
	b.DropDead(queue, func(m event.Message) bool {
		if err != nil {
			return false
		}
		seen++
		letter := m.DeadLetter(queue)
		var handling rabbitmq.Handling
		handling, err = decide(rabbitmq.Letter{DeadLetter: letter, Message: m})
		if err != nil || handling != rabbitmq.Remove {
			return false
		}
		settled(letter)
		return true
	})
	return seen, err
}

type embeddedConsumer struct {
	broker    *inprocess.Broker
	consumers []event.Consumer
}

// Run implements consumer.
func (c embeddedConsumer) Run(ctx context.Context) error { return c.broker.Consume(ctx, c.consumers) }

// Err implements consumer: nothing comes between the two.
func (c embeddedConsumer) Err() error { return nil }

// passTime lets keys expire: the embedded Redis has no clock of its own.
func (in *infra) passTime(ctx context.Context) error {
	defer in.embedded.redis.Close()
	return lifecycle.Every(ctx, time.Second, func(context.Context) { in.pass(time.Second) })
}

// pass tells the embedded Redis that d has passed, and what time it is.
func (in *infra) pass(d time.Duration) {
	in.embedded.redis.SetTime(in.clock.Now())
	in.embedded.redis.FastForward(d)
}

// APIURL is where people are served.
func (s *Standalone) APIURL() string { return "http://" + s.apiListener.Addr().String() }

// InternalURL is where other services and operators are served.
func (s *Standalone) InternalURL() string {
	if s.internalListener == nil {
		return s.APIURL()
	}
	return "http://" + s.internalListener.Addr().String()
}

// MonitorURL is where health and metrics of the consumer's side are.
func (s *Standalone) MonitorURL() string { return "http://" + s.monitorListener.Addr().String() }

// Inbox is where every mail ends.
func (s *Standalone) Inbox() *inbox.Inbox { return s.embedded.inbox }

// Now is the time of the standalone, which may have been moved.
func (s *Standalone) Now() time.Time { return s.clock.Now() }

// Promote makes the user with this address an administrator.
func (s *Standalone) Promote(ctx context.Context, email string) error {
	return promote(ctx, s.cfg, s.db, email)
}

// Tap returns a channel with a copy of every message on the exchange whose key matches pattern, until stop is called.
func (s *Standalone) Tap(pattern string) (messages <-chan event.Message, stop func()) {
	return s.embedded.broker.Tap(pattern)
}

// Send puts a message on the exchange, as another service does.
func (s *Standalone) Send(ctx context.Context, m event.Message) error {
	return s.embedded.broker.Send(ctx, []event.Message{m})[0]
}

// Redis is a client of the state database.
func (s *Standalone) Redis() *goredis.Client { return s.state }
