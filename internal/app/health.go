package app

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	goredis "github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
	"github.com/smap-platform/identity/pkg/redis"
)

// checkTimeout is how long a dependency may take to reply to a health check; a stopped one must not hang the probe.
const checkTimeout = 2 * time.Second

// readyPatience is how long /ready waits for what it only reports: the kubelet's own patience is one second.
const readyPatience = 300 * time.Millisecond

// The states of the service and of its dependencies.
const (
	healthy   = "healthy"
	degraded  = "degraded" // something is unavailable that the service can do without for a while
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
	// sealing returns an error while the outbox has rows that this process cannot open.
	sealing func() error
}

// report is the data of a health response.
type report struct {
	Status  string        `json:"status"`
	Version string        `json:"version,omitempty"`
	Details *dependencies `json:"details,omitempty"`
}

// dependencies is how everything is that the process depends on.
type dependencies struct {
	Database dependency `json:"database"`
	Redis    dependency `json:"redis"`
	RabbitMQ dependency `json:"rabbitmq"`
}

// dependency is how one of them is.
type dependency struct {
	Status   string   `json:"status"`
	Error    string   `json:"error,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	Exchange string `json:"exchange,omitempty"`
	Type     string `json:"type,omitempty"`
	Durable  *bool  `json:"durable,omitempty"`
	Phase    string `json:"phase,omitempty"` // EVENTS_MIGRATION_PHASE of this process
}

func (d dependency) ok() bool { return d.Status == healthy }

func (h *health) register(e *echo.Echo) {
	e.GET("/live", h.live)
	e.GET("/ready", h.ready)
	e.GET("/health", h.overall)
	e.GET("/health/redis", single(h.checkRedis))
	e.GET("/health/rabbitmq", single(h.checkRabbitMQ))
}

// live says that the process responds, nothing else: restarting the process would not repair a dependency.
func (h *health) live(c echo.Context) error {
	return httpserver.Success(c, http.StatusOK, report{Status: "alive", Version: h.version})
}

// ready reports whether to send work here (docs/architecture.md). Broker and Redis are reported, not required, of an api:
// the outbox and the projection catch up. A consumer needs its queues.
func (h *health) ready(c echo.Context) error {
	all := h.checkAll(c, readyPatience)
	status := "ready"
	switch {
	case h.draining.Load():
		status = "draining"
	case all.Database.Status == unhealthy, h.consuming != nil && !h.consuming():
		status = "not ready"
	}
	return respond(c, status == "ready", report{Status: status, Version: h.version, Details: all})
}

// overall is for people: unhealthy when the service cannot do its work, degraded when part of it waits.
func (h *health) overall(c echo.Context) error {
	all := h.checkAll(c, checkTimeout)
	status := healthy
	switch {
	case all.Database.Status == unhealthy:
		status = unhealthy
	case !all.Database.ok(), !all.Redis.ok(), !all.RabbitMQ.ok(), len(all.Database.Warnings) > 0:
		status = degraded
	}
	return respond(c, status != unhealthy, report{Status: status, Version: h.version, Details: all})
}

// single returns the handler that reports one dependency.
func single(check func(ctx context.Context) dependency) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
		defer cancel()
		d := check(ctx)
		return respond(c, d.ok(), d)
	}
}

// checkAll asks all dependencies at once: one that hangs must not cost the others their response. Those the api can do
// without are waited for no longer than optional.
func (h *health) checkAll(c echo.Context, optional time.Duration) *dependencies {
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	short, cancelShort := context.WithTimeout(ctx, optional)
	defer cancelShort()
	var all dependencies
	var checks sync.WaitGroup
	checks.Go(func() { all.Redis = h.checkRedis(short) })
	checks.Go(func() { all.RabbitMQ = h.checkRabbitMQ(short) })
	all.Database = h.checkDatabase(ctx)
	checks.Wait()
	return &all
}

func (h *health) checkDatabase(ctx context.Context) dependency {
	err := schema.Check(ctx, h.db)
	if err == nil {
		d := dependency{Status: healthy}
		if err := h.sealing(); err != nil {
			d.Warnings = []string{err.Error()}
		}
		return d
	}
	d := dependency{Status: unhealthy, Error: err.Error()}
	if check, ok := errors.AsType[*database.CheckError](err); ok && check.Readable {
		d.Status = degraded // reads go on, and each request that cannot be served gets a 503
	}
	return d
}

func (h *health) checkRedis(ctx context.Context) dependency {
	warnings, err := redis.Warnings(ctx, h.redis)
	switch {
	case err != nil:
		return dependency{
			Status: unhealthy,
			Error:  "redis does not answer; state is not updated, it catches up by retries or `consumer state rebuild`",
		}
	case h.embedded:
		return dependency{Status: healthy} // nobody could act on the warnings
	default:
		return dependency{Status: healthy, Warnings: warnings}
	}
}

func (h *health) checkRabbitMQ(ctx context.Context) dependency {
	exchange, err := h.broker.Check(ctx)
	if err != nil {
		return dependency{Status: unhealthy, Error: err.Error(), Exchange: exchange.Name, Phase: h.phase}
	}
	d := dependency{
		Status:   healthy,
		Exchange: exchange.Name,
		Type:     exchange.Type,
		Phase:    h.phase,
		Warnings: exchange.Lacks,
	}
	if exchange.Type != "" { // else it may only be looked at
		d.Durable = &exchange.Durable
	}
	return d
}

// respond sends data as a success, or as a 503 that carries data.
func respond(c echo.Context, ok bool, data any) error {
	if ok {
		return httpserver.Success(c, http.StatusOK, data)
	}
	const status = http.StatusServiceUnavailable
	return c.JSON(status, httpserver.Envelope{ErrorCode: status, Message: http.StatusText(status), Data: data})
}
