package http

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

const (
	// beatEvery keeps proxies from taking a quiet stream for a dead one, and finds clients that are gone.
	beatEvery = 15 * time.Second
	// streamLife is when a client has to come again, with a token that is still good.
	streamLife = time.Hour
	// retryLeast and retrySpread say when a client shall come again: not all of them at once when a server stops.
	retryLeast, retrySpread = 2 * time.Second, 3 * time.Second
	// finalID is the id of the last event of a project: who comes back with it has seen everything.
	finalID = "final"
)

// stream sends the project as it is, and again after each change, until nothing can change any more: "completed" once it
// is done, "progress" before that and when it has failed. Its data is what GET …/progress answers. A client that comes
// back after the last event gets a 204, which tells it not to come any more (HTML, "Server-sent events").
func (h reader) stream(c echo.Context) error {
	actor, err := actorOf(c)
	if err != nil {
		return err
	}
	if c.Request().Header.Get("Last-Event-ID") == finalID {
		return c.NoContent(http.StatusNoContent)
	}
	watching, err := h.reading.Watch(c.Request().Context(), actor, projectOf(c))
	if err != nil {
		return err
	}
	defer watching.Stop()
	// From here on an error means that the client has gone: nobody is left to tell, and it is no fault.
	if events, err := httpserver.OpenEvents(c, httpserver.EventOptions{Retry: retryLeast + rand.N(retrySpread)}); err == nil {
		follow(c, events, watching)
	}
	return nil
}

// follow sends until the stream is over or the client has gone.
func follow(c echo.Context, events *httpserver.Events, watching project.Watching) {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	life := time.NewTimer(streamLife)
	defer life.Stop()
	ctx := c.Request().Context()
	last := watching.Now
	err := send(events, last)
	for err == nil && last.Found() && !last.Status.Final() {
		select {
		case <-ctx.Done():
			return
		case <-httpserver.Draining(ctx):
			return
		case <-life.C:
			return
		case <-beat.C:
			err = events.Beat()
		case p := <-watching.Changes:
			if p != last {
				last, err = p, send(events, p)
			}
		}
	}
}

func send(events *httpserver.Events, p project.Progress) error {
	name, id := "progress", ""
	if p.Status == project.StatusDone {
		name = "completed"
	}
	if p.Status.Final() {
		id = finalID
	}
	return events.Send(name, id, present(p))
}
