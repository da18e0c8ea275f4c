package app

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/authentication"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/pkg/lifecycle"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
)

// API is the api role: HTTP and a relay.
type API struct {
	parts    *parts
	relay    *outbox.Relay
	accounts *accounts
	progress *progress
}

// Option changes how an API is composed.
type Option func(*composition)

type composition struct{ passwords authentication.PasswordHasher }

// WithPasswords has h hash the passwords. It is for load tests, which would otherwise measure the hashing.
func WithPasswords(h authentication.PasswordHasher) Option {
	return func(c *composition) { c.passwords = h }
}

// NewAPI connects to what the configuration names; of that only the database has to be there. Run does the work.
func NewAPI(ctx context.Context, cfg config.Config, version string, log zerolog.Logger, options ...Option) (*API, error) {
	p, err := real(ctx, cfg, "api", version, log)
	if err != nil {
		return nil, err
	}
	var c composition
	for _, o := range options {
		o(&c)
	}
	if c.passwords == nil {
		c.passwords = p.passwords()
	}
	relay, publisher := p.outbox()
	progress := p.progress(publisher)
	return &API{
		parts: p, relay: relay, accounts: p.accounts(publisher, c.passwords, progress.tracker), progress: progress,
	}, nil
}

// Authentication is what the api does for people who register and log in.
func (a *API) Authentication() *authentications.UseCase { return a.accounts.authentication }

// Run serves until ctx ends, and answers nil after an orderly stop. An API runs once.
func (a *API) Run(ctx context.Context) error {
	p := a.parts
	defer p.close()
	l, err := listen(ctx, "APP_PORT", p.cfg.HTTP.Host, p.cfg.HTTP.AppPort)
	if err != nil {
		return err
	}
	web := p.web(a.accounts, a.progress)
	p.log.Info().Str("address", l.Addr().String()).Str("phase", string(p.phase)).Msg("api is serving")
	return lifecycle.Run(ctx, p.log, p.cfg.Service.ShutdownTimeout,
		[]lifecycle.Role{p.serving("http", web, l)},
		[]lifecycle.Role{{Name: "relay", Run: a.relay.Run}, a.progress.announcing(), a.progress.listening()},
		p.base,
	)
}

// ServeAPI runs the api role until ctx ends. It answers nil after an orderly stop.
func ServeAPI(ctx context.Context, cfg config.Config, version string, log zerolog.Logger) error {
	api, err := NewAPI(ctx, cfg, version, log)
	if err != nil {
		return err
	}
	return api.Run(ctx)
}

// ServeConsumer runs the consumer role until ctx ends: the queues, a relay, and a small HTTP server for health and
// metrics. It answers nil after an orderly stop.
func ServeConsumer(ctx context.Context, cfg config.Config, version string, log zerolog.Logger) error {
	p, err := real(ctx, cfg, "consumer", version, log)
	if err != nil {
		return err
	}
	defer p.close()
	l, err := listen(ctx, "CONSUMER_PORT", cfg.HTTP.Host, cfg.HTTP.ConsumerPort)
	if err != nil {
		return err
	}
	relay, publisher := p.outbox()
	progress := p.progress(publisher)
	domains, err := p.domains(progress.counting)
	if err != nil {
		return err
	}
	queues := Queues(cfg)
	consumer := rabbitmq.NewConsumer(rabbitmq.ConsumerOptions{
		Connection: rabbitconn.Options{URL: string(cfg.RabbitMQ.URL), Name: "identity-consumer", Log: log},
		Topology:   rabbitmq.NewTopology(queues), Sender: p.broker, Now: p.clock.Now,
		DrainTimeout: cfg.Service.ShutdownTimeout / 2,
		StaleAck:     func(queue string) { p.metrics.staleAcks.WithLabelValues(queue).Inc() },
		Refused:      func(_ string, refused bool) { p.metrics.tellRefused(refused) },
	}, domains.consumers(queues, p.mailLease(), p.clock.Now, &consumeObserver{log, p.tracer(), p.metrics}))
	p.health.consuming = consumer.Consuming
	log.Info().Str("address", l.Addr().String()).Str("phase", string(p.phase)).Msg("consumer is running")
	return lifecycle.Run(ctx, log, cfg.Service.ShutdownTimeout,
		[]lifecycle.Role{p.serving("http", p.monitor(), l), {Name: "consumer", Run: consumer.Run}},
		append(p.upkeep(progress), lifecycle.Role{Name: "relay", Run: relay.Run}, progress.announcing()),
		p.base,
	)
}
