package http

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Reading is the use case for people.
type Reading interface {
	Progress(ctx context.Context, actor project.Actor, projectID string) (project.Progress, error)
	Watch(ctx context.Context, actor project.Actor, projectID string) (project.Watch, error)
}

// Still reports whether the caller of a request is logged in as they were when it came, or that cannot be told.
type Still func(ctx context.Context, c echo.Context) bool

type handler struct {
	reading Reading
	streams *httpserver.Places // by user
	still   Still
	// checkEvery is how often still is asked of a stream's caller.
	checkEvery time.Duration
	snapshots  *snapshots
}

// CheckEvery is within which time the stream of a caller who has logged out ends.
const CheckEvery = time.Minute

// Register registers GET /projects/:id/progress and GET /projects/:id/progress/stream on g. The middleware
// authenticated must set the principal or refuse the request. A stream's caller is checked every so often.
func Register(
	g *echo.Group, r Reading, authenticated echo.MiddlewareFunc, still Still, checkEvery time.Duration,
) {
	h := handler{r, &httpserver.Places{PerKey: maxStreams, KeyFull: project.ErrTooManyStreams}, still, checkEvery, newSnapshots()}
	g.GET("/projects/:id/progress", h.progress, authenticated)
	g.GET(streamRoute, h.stream, authenticated)
}

func (h handler) progress(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	p, err := h.reading.Progress(c.Request().Context(), actor, projectID(c))
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, present(p))
}

func actorOf(c echo.Context) (project.Actor, error) {
	p, ok := httpserver.PrincipalOf(c)
	if !ok {
		return project.Actor{}, echo.NewHTTPError(http.StatusUnauthorized, "Please log in")
	}
	return project.Actor{UserID: p.Subject, Admin: p.Admin()}, nil
}
