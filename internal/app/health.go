package app

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	goredis "github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
	"github.com/smap-platform/identity/pkg/redis"
)

// checkTimeout is how long a dependency may take to answer a health check; a stopped one must not hang the probe.
const checkTimeout = 2 * time.Second

// readyPatience is how long /ready waits for what it only reports: the kubelet's own patience is one second.
const readyPatience = 300 * time.Millisecond

// Words a health answer uses.
const (
	healthy   = "healthy"
	degraded  = "degraded" // something is away that the service can do without for a while
	unhealthy = "unhealthy"
)

// health reports the state of this process and its dependencies. It asks them each time: nothing is cached.
type health struct {
	db       *database.DB
	redis    *goredis.Client
	broker   broker
	version  string
	phase    string
	embedded bool // the standalone's own parts
	draining atomic.Bool
	// consuming is set in a consumer: without its queues it is not ready.
	consuming func() bool
}

// report is the data of a health answer.
type report struct {
	Status  string `json:"status"`
	Version string `json:"version,omitempty"`
	Details any    `json:"details,omitempty"`
}

func (h *health) register(e *echo.Echo) {
	e.GET("/live", h.live)
	e.GET("/ready", h.ready)
	e.GET("/health", h.overall)
	e.GET("/health/redis", h.redisHealth)
	e.GET("/health/rabbitmq", h.rabbitmqHealth)
}

// live says that the process responds, nothing else: restarting it would not repair a dependency.
func (h *health) live(c echo.Context) error {
	return httpserver.Success(c, http.StatusOK, report{Status: "alive", Version: h.version})
}

// ready says whether to send work here (docs/architecture.md). Broker and Redis are reported, not required, of an api: the
// outbox and the projection catch up. A consumer needs its queues.
func (h *health) ready(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	details := h.details(ctx, readyPatience)
	switch {
	case h.draining.Load():
		return answer(c, http.StatusServiceUnavailable, report{Status: "draining", Version: h.version, Details: details})
	case !details.Database.ok(), h.consuming != nil && !h.consuming():
		return answer(c, http.StatusServiceUnavailable, report{Status: "not ready", Version: h.version, Details: details})
	}
	return answer(c, http.StatusOK, report{Status: "ready", Version: h.version, Details: details})
}

// overall is for people: unhealthy when the service cannot do its work, degraded when part of it waits.
func (h *health) overall(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	details := h.details(ctx, checkTimeout)
	switch {
	case !details.Database.ok():
		return answer(c, http.StatusServiceUnavailable, report{Status: unhealthy, Version: h.version, Details: details})
	case !details.Redis.ok(), !details.RabbitMQ.ok():
		return answer(c, http.StatusOK, report{Status: degraded, Version: h.version, Details: details})
	}
	return answer(c, http.StatusOK, report{Status: healthy, Version: h.version, Details: details})
}

func (h *health) redisHealth(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	return answerPart(c, h.checkRedis(ctx))
}

func (h *health) rabbitmqHealth(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	return answerPart(c, h.checkRabbitMQ(ctx))
}

// part is how one dependency is.
type part struct {
	Status   string   `json:"status"`
	Error    string   `json:"error,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	Exchange string `json:"exchange,omitempty"`
	Type     string `json:"type,omitempty"`
	Durable  *bool  `json:"durable,omitempty"`
	Phase    string `json:"phase,omitempty"` // EVENTS_MIGRATION_PHASE of this process
}

func (p part) ok() bool { return p.Status == healthy }

type partDetails struct {
	Database part `json:"database"`
	Redis    part `json:"redis"`
	RabbitMQ part `json:"rabbitmq"`
}

// details asks all dependencies at once: one that hangs must not cost the others their answer. Those the api can do
// without are waited for no longer than optional.
func (h *health) details(ctx context.Context, optional time.Duration) (d partDetails) {
	redisDone, rabbitDone := make(chan part, 1), make(chan part, 1)
	short, cancel := context.WithTimeout(ctx, optional)
	defer cancel()
	go func() { redisDone <- h.checkRedis(short) }()
	go func() { rabbitDone <- h.checkRabbitMQ(short) }()
	d.Database = h.checkDatabase(ctx)
	d.Redis, d.RabbitMQ = <-redisDone, <-rabbitDone
	return d
}

func (h *health) checkDatabase(ctx context.Context) part {
	if err := h.db.Ping(ctx); err != nil {
		return part{Status: unhealthy, Error: "the database does not answer"}
	}
	if err := schema.Current(ctx, h.db); err != nil {
		return part{Status: unhealthy, Error: err.Error()}
	}
	return part{Status: healthy}
}

func (h *health) checkRedis(ctx context.Context) part {
	warnings, err := redis.Warnings(ctx, h.redis)
	if err != nil {
		return part{Status: unhealthy, Error: "redis does not answer; state is not updated, it catches up by retries or `consumer state rebuild`"}
	}
	if h.embedded {
		warnings = nil // nobody could act on them
	}
	return part{Status: healthy, Warnings: warnings}
}

func (h *health) checkRabbitMQ(ctx context.Context) part {
	exchange, err := h.broker.Check(ctx)
	if err != nil {
		return part{Status: unhealthy, Error: err.Error(), Exchange: exchange.Name, Phase: h.phase}
	}
	return part{
		Status: healthy, Exchange: exchange.Name, Type: exchange.Type, Durable: &exchange.Durable, Phase: h.phase,
	}
}

func answerPart(c echo.Context, p part) error {
	if !p.ok() {
		return answer(c, http.StatusServiceUnavailable, p)
	}
	return answer(c, http.StatusOK, p)
}

func answer(c echo.Context, status int, data any) error {
	if status == http.StatusOK {
		return httpserver.Success(c, status, data)
	}
	return c.JSON(status, httpserver.Envelope{ErrorCode: status, Message: http.StatusText(status), Data: data})
}
