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

type internalHandler struct{ counting Counting }

// RegisterInternal registers POST /internal/projects/:id, PUT …/total, POST …/items and POST …/fail on g. The
// middleware internal must admit other services only. Every route may be called again after any error, and responds
// with the project's progress.
func RegisterInternal(g *echo.Group, c Counting, internal echo.MiddlewareFunc) {
	h := internalHandler{c}
	g.POST("/internal/projects/:id", h.init, internal)
	g.PUT("/internal/projects/:id/total", h.setTotal, internal)
	g.POST(itemsRoute, h.mark, internal)
	g.POST("/internal/projects/:id/fail", h.fail, internal)
}

func (h internalHandler) init(c echo.Context) error {
	var request struct {
		UserID string `json:"user_id"`
		Total  int64  `json:"total"`
	}
	if err := httpserver.BindStrict(c, &request, project.ErrBody); err != nil {
		return err
	}
	return respond(c)(h.counting.Init(c.Request().Context(), projectID(c), request.UserID, request.Total))
}

func (h internalHandler) setTotal(c echo.Context) error {
	var request struct {
		Total *int64 `json:"total"`
		Final *bool  `json:"final"`
	}
	if err := httpserver.BindStrict(c, &request, project.ErrBody); err != nil {
		return err
	}
	missing := map[string]string{}
	if request.Total == nil {
		missing["total"] = "is required"
	}
	if request.Final == nil {
		missing["final"] = "is required"
	}
	if len(missing) > 0 {
		return project.ErrBody.WithFields(missing)
	}
	return respond(c)(h.counting.SetTotal(c.Request().Context(), projectID(c), *request.Total, *request.Final))
}

func (h internalHandler) mark(c echo.Context) error {
	var request struct {
		Items []struct {
			ID     string `json:"item_id"`
			Failed bool   `json:"failed"`
		} `json:"items"`
	}
	if err := httpserver.BindStrict(c, &request, project.ErrBody); err != nil {
		return err
	}
	items := make([]project.Item, len(request.Items))
	for i, item := range request.Items {
		items[i] = project.Item(item) // conversions ignore tags
	}
	return respond(c)(h.counting.Mark(c.Request().Context(), projectID(c), items))
}

func (h internalHandler) fail(c echo.Context) error {
	var request struct {
		Reason string `json:"reason"`
	}
	if err := httpserver.BindStrict(c, &request, project.ErrBody); err != nil {
		return err
	}
	return respond(c)(h.counting.Fail(c.Request().Context(), projectID(c), request.Reason))
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

// respond returns a function that responds with the result of a verb.
func respond(c echo.Context) func(project.Change, error) error {
	return func(change project.Change, err error) error {
		if err != nil {
			return err
		}
		return httpserver.Success(c, http.StatusOK, changeView{present(change.Progress), change.Crossed})
	}
}
