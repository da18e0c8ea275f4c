package app

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/httpserver"
)

const (
	// longestJourney bounds one request, in days.
	longestJourney = 400
	// settleTimeout is how long what is due at one moment may take.
	settleTimeout = 10 * time.Second
	settlePoll    = 2 * time.Millisecond
	// mailPatience is for how long a mail may be in hand before time is not moved for it.
	mailPatience = time.Second
)

var (
	errJourney      = apperror.New(apperror.Invalid, http.StatusBadRequest, "The request is not valid")
	errMailInFlight = apperror.New(apperror.Conflict, http.StatusConflict,
		"A mail is being sent, or time is being moved already; try again in a moment")
	errNotSettled = apperror.New(apperror.Unavailable, http.StatusServiceUnavailable,
		"What was due has not been done in time; time stands at that moment")
)

// timeTravel moves the time of a standalone. It is in no other binary: a test looks.
type timeTravel struct {
	*App
	moving sync.Mutex
}

// registerTimeTravel adds POST /dev/clock/advance to the api of a standalone.
func registerTimeTravel(a *App) {
	t := &timeTravel{App: a}
	a.web.POST("/dev/clock/advance", t.advance, a.guard().Middleware)
}

// journey is the answer: the time it is now, and the moments at which something was due on the way.
type journey struct {
	Now     time.Time   `json:"now"`
	Moments []time.Time `json:"moments"`
}

func (t *timeTravel) advance(c echo.Context) error {
	var request struct {
		Days int `json:"days"`
	}
	if err := httpserver.BindStrict(c, &request, errJourney); err != nil {
		return err
	}
	if request.Days < 1 || request.Days > longestJourney {
		return errJourney.WithFields(map[string]string{"days": "must be from 1 to 400"})
	}
	j, err := t.travel(c.Request().Context(), time.Duration(request.Days)*24*time.Hour)
	if err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, j)
}

// travel goes on by d, from one due moment to the next: what happens at each happens at its own time, in its order. A
// moment that comes due while time is moved, because of what happened at another, is visited too.
func (t *timeTravel) travel(ctx context.Context, d time.Duration) (journey, error) {
	if !t.moving.TryLock() {
		return journey{}, errMailInFlight
	}
	defer t.moving.Unlock()
	if t.stillSends(ctx) {
		return journey{}, errMailInFlight // a mail's lease would end while it is being sent
	}
	j := journey{Moments: []time.Time{}}
	for end := t.clock.Now().Add(d); ; {
		done, err := t.settle(ctx)
		if err != nil {
			return j, err
		}
		if j.Now = t.clock.Now(); !done.Before(end) {
			return j, nil
		}
		next, found, err := t.nextDue(ctx, done)
		if err != nil {
			return j, err
		}
		if slices.ContainsFunc(t.embedded.broker.Busy(), sendsMail) {
			continue // a person has just registered
		}
		if !found || next.After(end) {
			next = end
		} else {
			j.Moments = append(j.Moments, next)
		}
		t.move(max(next.Sub(t.clock.Now()), 0)) // time passes by itself as well
	}
}

// stillSends waits a moment for mails in hand, which may have arrived already, and reports whether one still is.
func (t *timeTravel) stillSends(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, mailPatience)
	defer cancel()
	for slices.ContainsFunc(t.embedded.broker.Busy(), sendsMail) {
		select {
		case <-ctx.Done():
			return true
		case <-time.After(settlePoll):
		}
	}
	return false
}

func sendsMail(queue string) bool {
	return strings.HasSuffix(queue, ".email") || strings.HasSuffix(queue, ".invitation")
}

// move moves the clocks of database, broker and Redis together.
func (t *timeTravel) move(d time.Duration) {
	t.clock.Advance(d)
	t.pass(d)
	t.embedded.broker.Wake()
	t.relay.Wake()
}

// nextDue returns the next moment after now at which scheduler, outbox or broker have something to do.
func (t *timeTravel) nextDue(ctx context.Context, now time.Time) (next time.Time, found bool, err error) {
	earliest := func(due time.Time, ok bool) {
		if ok && (!found || due.Before(next)) {
			next, found = due, true
		}
	}
	due, ok, err := t.scheduler.NextDue(ctx, now)
	if err != nil {
		return time.Time{}, false, err
	}
	earliest(due, ok)
	due, ok, err = outbox.Rows.NextDue(ctx, t.db)
	if err != nil {
		return time.Time{}, false, err
	}
	earliest(due, ok)
	earliest(t.embedded.broker.NextDue())
	return next, found, nil
}

// settle waits until all that is due has been done by scheduler, outbox, queues and handlers, and returns the time up to
// which that is so.
func (t *timeTravel) settle(ctx context.Context) (done time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		done = t.clock.Now()
		if t.cfg.Subscriptions.Scheduler {
			if _, err := t.scheduler.RunDue(ctx); err != nil {
				return done, err
			}
		}
		idle, err := t.idle(ctx)
		if err != nil || idle {
			return done, err
		}
		t.relay.Wake()
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			return done, errNotSettled
		}
	}
}

// idle reports whether nothing is on its way. The outbox is looked at twice: a handler may put something there after the
// first look, and the relay takes a row away after the broker has it.
func (t *timeTravel) idle(ctx context.Context) (bool, error) {
	for range 2 {
		due, ok, err := outbox.Rows.NextDue(ctx, t.db)
		if err != nil || ok && !due.After(t.clock.Now()) || len(t.embedded.broker.Busy()) > 0 {
			return false, err
		}
	}
	return true, nil
}
