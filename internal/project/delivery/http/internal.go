// Package http serves the progress of projects (docs/compatibility.md): to the services that count, and to the people
// who wait. It authenticates nobody: the middleware passed to [Register] and [RegisterInternal] does, and the use
// cases decide who may see what.
package http

import (
	"context"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// The routes with limits of their own.
const (
	itemsRoute  = "/internal/projects/:id/items"
	streamRoute = "/projects/:id/progress/stream"
	// itemsLimit has room for project.MaxItems of the longest ids.
	itemsLimit = 256 << 10
)

// Limits returns what [httpserver.Options] must hold in Routes for these routes.
func Limits() map[string]httpserver.Limits {
	return map[string]httpserver.Limits{
		http.MethodPost + " " + itemsRoute: {Body: itemsLimit},
		http.MethodGet + " " + streamRoute: {Timeout: httpserver.NoTimeout},
	}
}

// Counting is the use case for other services.
type Counting interface {
	Init(ctx context.Context, projectID, owner string, total int64) (project.Change, error)
	SetTotal(ctx context.Context, projectID string, total int64, final bool) (project.Change, error)
	Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error)
	Fail(ctx context.Context, projectID, reason string) (project.Change, error)
}

// Reporting is the use case for services that ask.
type Reporting interface {
	Report(ctx context.Context, projectID string) (p project.Progress, owner string, err error)
}

// RegisterInternal registers GET and POST /internal/projects/:id, PUT …/total, POST …/items and POST …/fail on g. The
// middleware internal must admit other services only. Every route may be called again after any error, and responds
// with the project's progress. A project of the Project service is not begun here but by its project.created: that
// service refuses to start a project whose hash exists.
func RegisterInternal(g *echo.Group, c Counting, r Reporting, internal echo.MiddlewareFunc) {
	g.GET("/internal/projects/:id", report(r), internal)
	g.POST("/internal/projects/:id", handle[initRequest](c), internal)
	g.PUT("/internal/projects/:id/total", handle[totalRequest](c), internal)
	g.POST(itemsRoute, handle[itemsRequest](c), internal)
	g.POST("/internal/projects/:id/fail", handle[failRequest](c), internal)
}

// request is a body that asks for one verb.
type request interface {
	call(ctx context.Context, c Counting, projectID string) (project.Change, error)
}

func handle[R request](counting Counting) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := httpserver.Extend(c); err != nil {
			return err
		}
		var r R
		if err := httpserver.BindStrict(c, &r, project.ErrBody); err != nil {
			return err
		}
		change, err := r.call(c.Request().Context(), counting, projectID(c))
		if err != nil {
			return err
		}
		return httpserver.Success(c, http.StatusOK, changeView{present(change.Progress), change.Crossed})
	}
}

// report responds to a project that does not exist with the status NOT_FOUND and no error: a service that asks may be
// earlier than the one that begins the project.
func report(r Reporting) echo.HandlerFunc {
	return func(c echo.Context) error {
		p, owner, err := r.Report(c.Request().Context(), projectID(c))
		if err != nil {
			return err
		}
		return httpserver.Success(c, http.StatusOK, reportView{present(p), owner})
	}
}

type initRequest struct {
	UserID string `json:"user_id"`
	Total  int64  `json:"total"`
}

func (r initRequest) call(ctx context.Context, c Counting, projectID string) (project.Change, error) {
	return c.Init(ctx, projectID, r.UserID, r.Total)
}

type totalRequest struct {
	Total *int64 `json:"total"`
	Final *bool  `json:"final"`
}

func (r totalRequest) call(ctx context.Context, c Counting, projectID string) (project.Change, error) {
	missing := map[string]string{}
	if r.Total == nil {
		missing["total"] = "is required"
	}
	if r.Final == nil {
		missing["final"] = "is required"
	}
	if len(missing) > 0 {
		return project.Change{}, project.ErrBody.WithFields(missing)
	}
	return c.SetTotal(ctx, projectID, *r.Total, *r.Final)
}

type itemsRequest struct {
	Items []struct {
		ID     string `json:"item_id"`
		Failed bool   `json:"failed"`
	} `json:"items"`
}

func (r itemsRequest) call(ctx context.Context, c Counting, projectID string) (project.Change, error) {
	items := make([]project.Item, len(r.Items))
	for i, item := range r.Items {
		items[i] = project.Item(item) // conversions ignore tags
	}
	return c.Mark(ctx, projectID, items)
}

type failRequest struct {
	Reason string `json:"reason"`
}

func (r failRequest) call(ctx context.Context, c Counting, projectID string) (project.Change, error) {
	return c.Fail(ctx, projectID, r.Reason)
}

// projectID returns the project id of the path, unescaped. Echo returns a path parameter in its raw form when the path
// has escaped characters; it rejects a path that cannot be unescaped.
func projectID(c echo.Context) string {
	id := c.Param("id")
	if c.Request().URL.RawPath != "" {
		id, _ = url.PathUnescape(id)
	}
	return id
}
