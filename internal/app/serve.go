package app

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/pkg/lifecycle"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
)

// ServeAPI runs the api role until ctx ends: HTTP and a relay. It answers nil after an orderly stop.
func ServeAPI(ctx context.Context, cfg config.Config, version string, log zerolog.Logger) error {
	p, err := real(ctx, cfg, "api", version, log)
	if err != nil {
		return err
	}
	defer p.close()
	l, err := listen(ctx, "APP_PORT", cfg.HTTP.Host, cfg.HTTP.AppPort)
	if err != nil {
		return err
	}
	relay, publisher := p.relay()
	web := p.web(p.accounts(publisher))
	log.Info().Str("address", l.Addr().String()).Msg("api is serving")
	return lifecycle.Run(ctx, log, cfg.Service.ShutdownTimeout,
		[]lifecycle.Role{p.serving("http", web, l)},
		[]lifecycle.Role{{Name: "relay", Run: relay.Run}},
		p.base,
	)
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
	domains, err := p.domains()
	if err != nil {
		return err
	}
	queues := Queues(cfg)
	consumer := rabbitmq.NewConsumer(rabbitmq.ConsumerOptions{
		Connection: rabbitconn.Options{URL: string(cfg.RabbitMQ.URL), Name: "identity-consumer", Log: log},
		Topology:   rabbitmq.NewTopology(queues), Sender: p.broker, Now: p.clock.Now,
		DrainTimeout: cfg.Service.ShutdownTimeout / 2,
		StaleAck:     func(queue string) { p.metrics.staleAcks.WithLabelValues(queue).Inc() },
	}, domains.consumers(queues, p.mailLease(), &consumeObserver{log, p.tracer(), p.metrics}))
	p.health.consuming = consumer.Consuming
	relay, _ := p.relay()
	log.Info().Str("address", l.Addr().String()).Msg("consumer is running")
	return lifecycle.Run(ctx, log, cfg.Service.ShutdownTimeout,
		[]lifecycle.Role{p.serving("http", p.monitor(), l), {Name: "consumer", Run: consumer.Run}},
		[]lifecycle.Role{{Name: "relay", Run: relay.Run}, p.purging()},
		p.base,
	)
}
