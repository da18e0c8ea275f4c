package app

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/status"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// checkTimeout is how long a dependency may take to reply to a health check; a stopped one must not hang the probe.
const checkTimeout = 2 * time.Second

// askerTimeout is how long those wait who want to know. It is a little longer, so that they learn of a timeout.
const askerTimeout = checkTimeout + 200*time.Millisecond

// readyPatience is how long /ready waits for what it only reports: the kubelet's own patience is one second.
const readyPatience = 300 * time.Millisecond

// The states of the service and of its dependencies.
const (
	healthy   = "healthy"
	degraded  = "degraded" // something is unavailable that the service can do without for a while
	unhealthy = "unhealthy"
)

// checkEvery is how long the outcome of a check is kept: a dependency is asked no more often, however often we are.
const checkEvery = 5 * time.Second

// health reports the state of this process and its dependencies: whether our work can be done there.
type health struct {
	version  string
	draining atomic.Bool
	// consuming is set in a consumer: without its queues it is not ready.
	consuming func() error
	// lanes are the queues of a consumer that send mail.
	lanes []*event.Lane
	// risks are what the settings leave open. They do not change while the process runs.
	risks []string
	// sealing returns an error while the outbox has rows that this process cannot open.
	sealing func() error
	// ahead returns how far the clock of this machine is ahead of the database's.
	ahead func() time.Duration

	database, redis, rabbitmq *check

	// facts is how the whole service is.
	facts *cached[status.Facts]
}

func newHealth(in *infra) *health {
	h := &health{version: in.version, risks: in.cfg.Risks()}
	broker := checkedBroker{in.broker, in.legacy.connection}
	h.database = newCheck(func(ctx context.Context) dependency { return checkDatabase(ctx, in.db) })
	h.redis = newCheck(in.lookAtRedis)
	h.ahead = in.clock.Ahead
	h.rabbitmq = newCheck(func(ctx context.Context) dependency { return checkRabbitMQ(ctx, broker, string(in.phase())) })
	return h
}

// lookAtRedis asks Redis whether state can be kept there.
func (in *infra) lookAtRedis(ctx context.Context) dependency {
	warnings, err := in.checkRedis(ctx)
	switch {
	case err != nil:
		return dependency{Status: unhealthy, Error: err.Error() +
			"; state is not updated, it catches up by retries or `consumer state rebuild`"}
	case in.embedded != nil:
		return dependency{Status: healthy} // nobody could act on the warnings
	default:
		return dependency{Status: healthy, Warnings: warnings}
	}
}

// check asks a dependency.
type check = cached[dependency]

func newCheck(ask func(ctx context.Context) dependency) *check {
	return &check{every: checkEvery, ask: ask, last: dependency{Status: unhealthy, Error: "has not answered yet"}}
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
	// SMTP is there in a consumer only: no other process speaks to the mail server.
	SMTP *dependency `json:"smtp,omitempty"`
	// Settings is there when one of them leaves a door open. It makes nothing unhealthy.
	Settings *settings `json:"settings,omitempty"`
	// Mails is missing while the database cannot be read, and on /ready.
	Mails *status.Mails `json:"mails,omitempty"`
	// Service is there when people wait, or work stands still, wherever that is; not on /ready.
	Service *serviceHealth `json:"service,omitempty"`
}

// serviceHealth is what is wrong with the service, the worst first.
type serviceHealth struct {
	Status   string           `json:"status"`
	Problems []status.Problem `json:"problems"`
}

// settings is what those who run the service should change.
type settings struct {
	Warnings []string `json:"warnings"`
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

	Lanes []event.LaneState `json:"lanes,omitempty"`
}

func (d dependency) asStatus() status.Dependency {
	return status.Dependency{Status: d.Status, Error: d.Error}
}

// ok reports whether the dependency is healthy, or none.
func (d *dependency) ok() bool { return d == nil || d.Status == healthy }

// extent is how much a server tells about the health of the process.
type extent int

const (
	detailed extent = iota // why, for operators
	brief                  // the state alone, for everybody
)

func (h *health) register(e *echo.Echo, x extent) {
	getOrHead(e, "/live", h.live)
	getOrHead(e, "/ready", h.ready(x))
	getOrHead(e, "/health", h.overall(x))
	getOrHead(e, "/health/redis", single(h.redis, x))
	getOrHead(e, "/health/rabbitmq", single(h.rabbitmq, x))
}

// getOrHead registers h for GET, and for HEAD, of which net/http leaves the body out.
func getOrHead(e *echo.Echo, path string, h echo.HandlerFunc) {
	e.Match([]string{http.MethodGet, http.MethodHead}, path, h)
}

// live says that the process responds, nothing else: restarting the process would not repair a dependency.
func (h *health) live(c echo.Context) error {
	return httpserver.Success(c, http.StatusOK, report{Status: "alive", Version: h.version})
}

// ready reports whether to send work here (docs/architecture.md). Broker and Redis are reported, not required, of an api:
// the outbox and the projection catch up. A consumer needs its queues. How the service is as a whole is not asked: that
// takes longer than all the rest, and a start waits for the first response.
func (h *health) ready(x extent) echo.HandlerFunc {
	return func(c echo.Context) error {
		all := h.checkAll(c, readyPatience)
		status := "ready"
		switch {
		case h.draining.Load():
			status = "draining"
		case all.Database.Status == unhealthy, h.consuming != nil && h.consuming() != nil:
			status = "not ready"
		}
		return respond(c, status == "ready", h.report(status, all, x))
	}
}

func (h *health) report(status string, all *dependencies, x extent) report {
	if x == brief {
		all = nil
	}
	return report{Status: status, Version: h.version, Details: all}
}

// overall is for people: unhealthy when the service cannot do its work, degraded when part of it waits.
func (h *health) overall(x extent) echo.HandlerFunc {
	return func(c echo.Context) error {
		all := h.checkAll(c, askerTimeout)
		all.Mails, all.Service = h.service(c.Request().Context())
		status := healthy
		switch {
		case all.Database.Status == unhealthy:
			status = unhealthy
		case !all.Database.ok(), !all.Redis.ok(), !all.RabbitMQ.ok(), !all.SMTP.ok(), len(all.Database.Warnings) > 0,
			all.Service != nil:
			status = degraded
		}
		return respond(c, status != unhealthy, h.report(status, all, x))
	}
}

// single returns the handler that reports one dependency.
func single(check *check, x extent) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), askerTimeout)
		defer cancel()
		d := check.state(ctx)
		if x == brief {
			d = dependency{Status: d.Status}
		}
		return respond(c, d.ok(), d)
	}
}

// checkAll asks all dependencies at once: one that hangs must not cost the others their response. Those the api can do
// without are waited for no longer than optional.
func (h *health) checkAll(c echo.Context, optional time.Duration) *dependencies {
	ctx, cancel := context.WithTimeout(c.Request().Context(), askerTimeout)
	defer cancel()
	short, cancelShort := context.WithTimeout(ctx, optional)
	defer cancelShort()
	var all dependencies
	var checks sync.WaitGroup
	checks.Go(func() { all.Redis = h.redis.state(short) })
	checks.Go(func() { all.RabbitMQ = h.rabbitmq.state(short) })
	all.Database = h.database.state(ctx)
	checks.Wait()
	if err := h.sealing(); err != nil && all.Database.ok() {
		all.Database.Warnings = append(all.Database.Warnings, err.Error())
	}
	if warning := h.clock(); warning != "" && all.Database.ok() {
		all.Database.Warnings = append(all.Database.Warnings, warning)
	}
	if h.consuming != nil {
		if err := h.consuming(); err != nil && all.RabbitMQ.ok() {
			all.RabbitMQ.Status, all.RabbitMQ.Error = unhealthy, err.Error()
		}
		all.SMTP = h.mail()
	}
	if len(h.risks) > 0 {
		all.Settings = &settings{h.risks}
	}
	return &all
}

var well = status.Dependency{Status: status.Healthy}

// service returns what people wait for, and what is wrong with the service as a whole; nil where nothing is.
func (h *health) service(ctx context.Context) (*status.Mails, *serviceHealth) {
	ctx, cancel := context.WithTimeout(ctx, askerTimeout)
	defer cancel()
	f := h.facts.state(ctx)
	if f.At.IsZero() {
		return nil, nil
	}
	f.Database, f.RabbitMQ, f.Redis, f.Troubles = well, well, well, nil // the response has a later word on each
	problems := slices.DeleteFunc(status.Judge(f), func(p status.Problem) bool { return !p.Page })
	if len(problems) == 0 {
		return f.Mails, nil
	}
	return f.Mails, &serviceHealth{degraded, problems}
}

// maxAhead is how far the clock of this machine may be from the database's: no more than what those who check our tokens
// allow for.
const maxAhead = 30 * time.Second

// clock returns what is wrong with the clock of this machine, if anything is.
func (h *health) clock() string {
	const does = "; leases, codes and tokens go by the database's, what is logged and the date of mails do not: set it (NTP)"
	switch d := h.ahead().Round(time.Second); {
	case d > maxAhead:
		return "this machine's clock is " + d.String() + " ahead of the database's" + does
	case d < -maxAhead:
		return "this machine's clock is " + (-d).String() + " behind the database's" + does
	default:
		return ""
	}
}

// mail returns how the mail server is, by what it has done with the mails of each queue. It is not asked.
func (h *health) mail() *dependency {
	d := &dependency{Status: healthy}
	for _, lane := range h.lanes {
		state := lane.State()
		d.Lanes = append(d.Lanes, state)
		if state.Halt != nil && d.ok() {
			d.Status = degraded
			d.Error = "an operator has paused mail (" + state.Queue + "); mails wait until consumer lane resume"
		}
		if state.Paused {
			d.Status = degraded
			d.Error = "mail is paused: the mail server cannot be reached or refuses this service (" + state.Class + "); mails wait"
		}
	}
	return d
}

func checkDatabase(ctx context.Context, db *database.DB) dependency {
	err := schema.Check(ctx, db)
	if err == nil {
		return dependency{Status: healthy}
	}
	d := dependency{Status: unhealthy, Error: err.Error()}
	if check, ok := errors.AsType[*database.CheckError](err); ok && check.Readable {
		d.Status = degraded // reads go on, and each request that cannot be served gets a 503
	}
	return d
}

func checkRabbitMQ(ctx context.Context, b broker, phase string) dependency {
	exchange, err := b.Check(ctx)
	if err != nil {
		return dependency{Status: unhealthy, Error: err.Error(), Exchange: exchange.Name, Phase: phase}
	}
	d := dependency{
		Status:   healthy,
		Exchange: exchange.Name,
		Type:     exchange.Type,
		Phase:    phase,
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
