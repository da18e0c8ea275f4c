package http

import (
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/status"
)

func (h *handler) statusRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/status", handle: h.status, nav: "Status"},
		{method: http.MethodGet, path: "/queues", handle: h.queues, nav: "Queues"},
	}
}

func (h *handler) processRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/processes", handle: h.processes, nav: "Processes"},
		{method: http.MethodGet, path: "/scheduler", handle: h.scheduler, nav: "Scheduler"},
		{method: http.MethodGet, path: "/migration", handle: h.migration, nav: "Migration"},
		{method: http.MethodGet, path: "/about", handle: h.about, nav: "About"},
	}
}

// statusPage is how the service is, the worst first.
type statusPage struct {
	Facts    status.Facts
	Problems []status.Problem
	Silent   []operations.Process // nil also where that is unknown
	Pages    map[string]navItem   // where to look further, by alert
	Charts   []drawing
}

// lookAt is where to look further, by alert.
var lookAt = map[string]string{
	"DeadLetters": "/deadletters", "MailIsPaused": "/lanes", "RoleGone": "/processes", "QueueWithoutConsumer": "/queues",
	"SubscriptionsEndLate": "/scheduler",
}

// pagesByAlert returns those of lookAt that this console has.
func (h *handler) pagesByAlert() map[string]navItem {
	found := map[string]navItem{}
	for alert, path := range lookAt {
		if i := slices.IndexFunc(h.nav, func(n navItem) bool { return n.Path == path }); i >= 0 {
			found[alert] = h.nav[i]
		}
	}
	return found
}

func (h *handler) status(c echo.Context) error {
	ctx := c.Request().Context()
	facts := h.Facts(ctx)
	all, err := h.Processes.Processes(ctx)
	if err != nil {
		all = nil // the database is unavailable, which is a problem of its own
	}
	return h.render(c, "status", "Status", statusPage{
		Facts:    facts,
		Problems: status.Judge(facts),
		Silent:   operations.Silent(all, h.Now()),
		Pages:    h.pagesByAlert(),
		Charts: draw(h.History.Samples(),
			operations.ChartOwed, operations.ChartRates, operations.ChartOutbox, operations.ChartOutboxAge),
	})
}

// queuesPage is what waits in which queue.
type queuesPage struct {
	Queues []status.Queue
	Charts []drawing
}

func (h *handler) queues(c echo.Context) error {
	facts := h.Facts(c.Request().Context())
	return h.render(c, "queues", "Queues", queuesPage{facts.Queues, draw(h.History.Samples(),
		operations.ChartWaiting, operations.ChartDead, operations.ChartLanes)})
}

// processesPage is which processes there are, or why that is unknown.
type processesPage struct {
	Processes []operations.Process
	Failure   string
	Charts    []drawing
}

func (h *handler) processes(c echo.Context) error {
	all, err := h.Processes.Processes(c.Request().Context())
	page := processesPage{Processes: all, Charts: draw(h.History.Samples(), operations.ChartProcesses)}
	if err != nil {
		page.Failure = err.Error()
	}
	return h.render(c, "processes", "Processes", page)
}

// schedulerPage is what does to subscriptions what time does.
type schedulerPage struct {
	Lag       *float64
	Consumers []operations.Process
	Next      time.Time // zero: nothing comes due
	Failure   string
}

func (h *handler) scheduler(c echo.Context) error {
	ctx := c.Request().Context()
	page := schedulerPage{Lag: h.Facts(ctx).SchedulerLag}
	all, err := h.Processes.Processes(ctx)
	for _, p := range all {
		if p.Role == "consumer" && p.Alive(h.Now()) {
			page.Consumers = append(page.Consumers, p)
		}
	}
	if err == nil {
		page.Next, _, err = h.Scheduler.NextDue(ctx, h.Now())
	}
	if err != nil {
		page.Failure = err.Error()
	}
	return h.render(c, "scheduler", "Scheduler", page)
}

// migrationPage is how far the migrations are, or why that is unknown.
type migrationPage struct {
	operations.Migration
	Failure string
}

func (h *handler) migration(c echo.Context) error {
	found, err := h.Migrations.Migration(c.Request().Context())
	page := migrationPage{Migration: found}
	if err != nil {
		page.Failure = err.Error()
	}
	return h.render(c, "migration", "Migration", page)
}

func (h *handler) about(c echo.Context) error { return h.render(c, "about", "About", nil) }
