package http

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

const (
	// beatEvery keeps proxies from closing an idle stream, and detects clients that are gone.
	beatEvery = 15 * time.Second
	// streamLife bounds a stream: the client reconnects with a token that is still valid.
	streamLife = time.Hour
	// maxStreams is how many streams of one user may be open in this process.
	maxStreams = 20
	// checkTime is how long it may take to check that a stream's caller is still logged in.
	checkTime = 5 * time.Second
	// retryMin and retrySpread delay a reconnect, so that clients of a stopped server do not all return at once.
	retryMin, retrySpread = 2 * time.Second, 3 * time.Second
	// finalID is the id of a project's last event.
	finalID = "final"
)

// stream sends the progress now and after each change, until the project is final: as "completed" once it is done, as
// "progress" otherwise. The data is the response of GET …/progress. A client that reconnects after the last event
// gets a 204, which ends its reconnecting (HTML, "Server-sent events"). The stream of a caller who has logged out, or is
// no longer who they were, ends within a minute.
func (h handler) stream(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	if c.Request().Header.Get("Last-Event-ID") == finalID {
		return c.NoContent(http.StatusNoContent)
	}
	leave, err := h.streams.Enter(actor.UserID)
	if err != nil {
		return err
	}
	defer leave()
	watch, err := h.reading.Watch(c.Request().Context(), actor, projectID(c))
	if err != nil {
		return err
	}
	defer watch.Stop()
	if err := httpserver.Extend(c); err != nil { // now that the user may see the project
		return err
	}
	// From here on an error means that the client is gone, which is no failure.
	options := httpserver.EventOptions{Retry: retryMin + rand.N(retrySpread)}
	if events, err := httpserver.OpenEvents(c, options); err == nil {
		ctx := c.Request().Context()
		defer events.End()
		check := time.NewTicker(h.checkEvery)
		defer check.Stop()
		h.snapshots.sendChanges(ctx, events, watch, check.C, func() bool {
			ctx, cancel := context.WithTimeout(ctx, checkTime)
			defer cancel()
			return h.still(ctx, c)
		})
	}
	return nil
}

// sendChanges returns when the stream is over, the client is gone, or the caller is no longer allowed at a check.
func (s *snapshots) sendChanges(
	ctx context.Context, events *httpserver.Events, watch project.Watch, check <-chan time.Time, allowed func() bool,
) {
	ctx, cancel := context.WithTimeout(ctx, streamLife)
	defer cancel()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	last := watch.Now
	err := s.send(events, last)
	for err == nil && last.Found() && !last.Status.Final() {
		select {
		case <-ctx.Done():
			return
		case <-httpserver.Draining(ctx):
			return
		case <-beat.C:
			err = events.Beat()
		case <-check:
			if !allowed() {
				return
			}
		case p := <-watch.Changes:
			if p != last {
				last = p
				err = s.send(events, p)
			}
		}
	}
}
