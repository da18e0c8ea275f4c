package http_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/project"
	delivery "github.com/smap-platform/identity/internal/project/delivery/http"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// counting records its arguments and always returns the same.
type counting struct {
	change project.Change
	err    error
	args   []any
}

func (c *counting) record(args ...any) (project.Change, error) {
	c.args = args
	return c.change, c.err
}

func (c *counting) Init(_ context.Context, id, owner string, total int64) (project.Change, error) {
	return c.record("init", id, owner, total)
}

func (c *counting) SetTotal(_ context.Context, id string, total int64, final bool) (project.Change, error) {
	return c.record("total", id, total, final)
}

func (c *counting) Mark(_ context.Context, id string, items []project.Item) (project.Change, error) {
	return c.record("mark", id, items)
}

func (c *counting) Fail(_ context.Context, id, reason string) (project.Change, error) {
	return c.record("fail", id, reason)
}

// reading returns one project, and the changes that the test sends.
type reading struct {
	now     project.Progress
	err     error
	changes chan project.Progress

	mu      sync.Mutex
	actor   project.Actor
	id      string
	stopped int
}

func (r *reading) Progress(_ context.Context, actor project.Actor, id string) (project.Progress, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.actor, r.id = actor, id
	return r.now, r.err
}

func (r *reading) Watch(ctx context.Context, actor project.Actor, id string) (project.Watch, error) {
	now, err := r.Progress(ctx, actor, id)
	if err != nil {
		return project.Watch{}, err
	}
	return project.Watch{Now: now, Changes: r.changes, Stop: func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stopped++
	}}, nil
}

func (r *reading) stops() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// reporter knows one project.
type reporter struct{}

func (reporter) Report(_ context.Context, id string) (project.Progress, string, error) {
	switch id {
	case "p":
		return progress(project.StatusProcessing, 3, 1, 0), "user-1", nil
	case "down":
		return project.Progress{}, "", project.ErrUnavailable
	}
	return project.Progress{ProjectID: id, Status: project.StatusNotFound}, "", nil
}

var user = &httpserver.Principal{Subject: "user-1", Role: "USER"}

// server serves the routes to principal, or without one if nil.
func server(c delivery.Counting, r delivery.Reading, principal *httpserver.Principal) *echo.Echo {
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop(), Routes: delivery.Limits()})
	as := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if principal != nil {
				httpserver.SetPrincipal(c, *principal)
			}
			return next(c)
		}
	}
	delivery.RegisterInternal(e.Group(""), c, reporter{}, httpserver.InternalKey("the-key"))
	delivery.Register(e.Group(""), r, as, func(context.Context, echo.Context) bool { return true }, delivery.CheckEvery)
	return e
}

func call(e *echo.Echo, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Internal-Key", "the-key")
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func progress(status project.Status, total, done, errors int64) project.Progress {
	return project.Progress{ProjectID: "p", Status: status, Total: total, Done: done, Errors: errors}
}
