package http

import (
	"context"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/status"
)

func (h *handler) laneRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/lanes", handle: h.lanes, nav: "Lanes"},
		{method: http.MethodPost, path: "/lanes/pause", handle: h.change("pause a lane", h.pauseLane)},
		{method: http.MethodPost, path: "/lanes/resume", handle: h.change("resume a lane", h.resumeLane)},
	}
}

// lanesPage is how every lane is, or why that is unknown.
type lanesPage struct {
	Lanes   []lane
	Failure string
}

// lane is one with what waits in its queue.
type lane struct {
	status.Lane
	Ready, Retry *int
}

func (h *handler) lanes(c echo.Context) error {
	ctx := c.Request().Context()
	var page lanesPage
	all, err := h.Lanes.List(ctx)
	if err != nil {
		page.Failure = textOf(err)
	}
	queues := h.Facts(ctx).Queues
	for _, l := range all {
		row := lane{Lane: l}
		for _, q := range queues {
			if q.Name == l.Queue {
				row.Ready, row.Retry = q.Ready, q.Retry
			}
		}
		page.Lanes = append(page.Lanes, row)
	}
	return h.render(c, "lanes", "Lanes", page)
}

func (h *handler) pauseLane(ctx context.Context, c echo.Context, _ string) (string, error) {
	p, err := h.Lanes.Pause(ctx, c.FormValue("queue"), c.FormValue("reason"))
	return fmt.Sprintf("%s is paused: every consumer stops sending it within seconds.", p.Queue), err
}

func (h *handler) resumeLane(ctx context.Context, c echo.Context, _ string) (string, error) {
	p, err := h.Lanes.Resume(ctx, c.FormValue("queue"))
	return fmt.Sprintf("%s is resumed. %s had paused it since %s UTC.", p.Queue, p.By, moment(p.Since)), err
}
