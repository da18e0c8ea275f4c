// Package http serves progress (docs/compatibility.md): to other services, which count by it, and to the people who wait for
// it. Who asks comes from the middleware in front, which the routes need; the rules are the use cases'.
package http

import (
	"context"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// The routes that may take more than others.
const (
	itemsRoute  = "/internal/projects/:id/items"
	streamRoute = "/projects/:id/progress/stream"
	// itemsLimit has room for project.MaxItems ids of the longest.
	itemsLimit = 256 << 10
)

// Limits is what httpserver.Options.Routes must hold of these routes.
func Limits() map[string]httpserver.Limits {
	return map[string]httpserver.Limits{
		http.MethodPost + " " + itemsRoute: {Body: itemsLimit},
		http.MethodGet + " " + streamRoute: {Timeout: httpserver.NoTimeout},
	}
}

// Counting is what other services ask of the domain. With ErrFinal comes the project as it is.
type Counting interface {
	Init(ctx context.Context, projectID, owner string, total int64) (project.Change, error)
	SetTotal(ctx context.Context, projectID string, total int64, final bool) (project.Change, error)
	Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error)
	Fail(ctx context.Context, projectID, reason string) (project.Change, error)
}

type counter struct{ counting Counting }

// RegisterInternal puts POST /internal/projects/:id, PUT …/total, POST …/items and POST …/fail on g. internal must let
// nobody through but other services. Every route may be called again after any error, and answers how far the project is
// then.
func RegisterInternal(g *echo.Group, c Counting, internal echo.MiddlewareFunc) {
	h := counter{c}
	g.POST("/internal/projects/:id", h.init, internal)
	g.PUT("/internal/projects/:id/total", h.setTotal, internal)
	g.POST(itemsRoute, h.mark, internal)
	g.POST("/internal/projects/:id/fail", h.fail, internal)
}

func (h counter) init(c echo.Context) error {
	var request struct {
		UserID string `json:"user_id"`
		Total  int64  `json:"total"`
	}
	if err := httpserver.BindStrict(c, &request, project.ErrBody); err != nil {
		return err
	}
	return answer(c)(h.counting.Init(c.Request().Context(), projectOf(c), request.UserID, request.Total))
}

func (h counter) setTotal(c echo.Context) error {
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
	return answer(c)(h.counting.SetTotal(c.Request().Context(), projectOf(c), *request.Total, *request.Final))
}

func (h counter) mark(c echo.Context) error {
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
		items[i] = project.Item{ID: item.ID, Failed: item.Failed}
	}
	return answer(c)(h.counting.Mark(c.Request().Context(), projectOf(c), items))
}

func (h counter) fail(c echo.Context) error {
	var request struct {
		Reason string `json:"reason"`
	}
	if err := httpserver.BindStrict(c, &request, project.ErrBody); err != nil {
		return err
	}
	return answer(c)(h.counting.Fail(c.Request().Context(), projectOf(c), request.Reason))
}

// projectOf answers the project's id exactly as it was meant: of a path with escaped characters echo gives the raw part.
// What cannot be unescaped does not get as far as this.
func projectOf(c echo.Context) string {
	id := c.Param("id")
	if c.Request().URL.RawPath == "" {
		return id
	}
	if plain, err := url.PathUnescape(id); err == nil {
		return plain
	}
	return id
}

// answer takes what a verb answers.
func answer(c echo.Context) func(project.Change, error) error {
	return func(change project.Change, err error) error {
		if err != nil {
			return err
		}
		return httpserver.Success(c, http.StatusOK, changeView{present(change.Progress), change.Crossed})
	}
}
