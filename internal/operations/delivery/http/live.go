package http

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/httpserver"
)

const (
	liveRoute = "/live"
	// streams is how many pages are followed at the same time.
	streams = 32
	// tick is how often a page that is followed is read again.
	tick = 5 * time.Second
)

var errStreams = echo.NewHTTPError(http.StatusServiceUnavailable, "Too many pages are followed")

// follow streams when it is time to read a page again. The page then asks for itself, so that it shows what it would show
// anyone else, at the same cost.
func (h *handler) follow(c echo.Context) error {
	select {
	case h.live <- struct{}{}:
		defer func() { <-h.live }()
	default:
		return errStreams
	}
	if err := httpserver.Extend(c); err != nil {
		return err
	}
	// From here on an error means that the browser is gone, which is no failure.
	if events, err := httpserver.OpenEvents(c, httpserver.EventOptions{Retry: time.Second}); err == nil {
		h.sendTicks(c, events)
	}
	return nil
}

func (h *handler) sendTicks(c echo.Context, events *httpserver.Events) {
	ctx := c.Request().Context()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if _, ok := h.access.session(c); !ok || events.Send("tick", "", h.Now()) != nil {
			return
		}
		if !next(ctx, ticker.C) {
			return
		}
	}
}

// next waits for a tick, and returns false where nobody waits any more.
func next(ctx context.Context, ticks <-chan time.Time) bool {
	select {
	case <-ticks:
		return true
	case <-ctx.Done():
	case <-httpserver.Draining(ctx):
	}
	return false
}
