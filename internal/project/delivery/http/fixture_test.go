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

// counting remembers what it is asked and answers the same to everything.
type counting struct {
	answer project.Change
	err    error
	asked  []any
}

func (c *counting) ask(args ...any) (project.Change, error) {
	c.asked = args
	return c.answer, c.err
}

func (c *counting) Init(_ context.Context, id, owner string, total int64) (project.Change, error) {
	return c.ask("init", id, owner, total)
}

func (c *counting) SetTotal(_ context.Context, id string, total int64, final bool) (project.Change, error) {
	return c.ask("total", id, total, final)
}

func (c *counting) Mark(_ context.Context, id string, items []project.Item) (project.Change, error) {
	return c.ask("mark", id, items)
}

func (c *counting) Fail(_ context.Context, id, reason string) (project.Change, error) {
	return c.ask("fail", id, reason)
}

// reading answers one project, and its changes as the test sends them.
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

var user = &httpserver.Principal{Subject: "user-1", Role: "USER"}

// server is the routes as principal meets them, nil for nobody.
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
	delivery.RegisterInternal(e.Group(""), c, httpserver.InternalKey("the-key"))
	delivery.Register(e.Group(""), r, as)
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
