package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/status"
)

func TestHealthCheck(t *testing.T) {
	t.Parallel()
	t.Run("asks once in five seconds, however many want to know", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int32
			c := newCheck(func(context.Context) dependency {
				asked.Add(1)
				time.Sleep(time.Second)
				return dependency{Status: healthy}
			})
			for round := int32(1); round <= 3; round++ {
				var askers sync.WaitGroup
				for range 10 {
					askers.Go(func() { require.Equal(t, healthy, c.state(t.Context()).Status) })
				}
				askers.Wait()
				require.Equal(t, round, asked.Load())
				time.Sleep(checkEvery)
			}
		})
	})

	t.Run("returns what it knows to those who do not wait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			status := healthy
			c := newCheck(func(ctx context.Context) dependency {
				select {
				case <-time.After(time.Second):
					return dependency{Status: status}
				case <-ctx.Done():
					return dependency{Status: unhealthy, Error: "does not answer"}
				}
			})
			hurry, cancel := context.WithTimeout(t.Context(), readyPatience)
			defer cancel()
			require.Equal(t, dependency{Status: unhealthy, Error: "has not answered yet"}, c.state(hurry))
			time.Sleep(time.Second)
			require.Equal(t, healthy, c.state(hurry).Status, "the question went on without its asker")
			status = unhealthy
			time.Sleep(checkEvery)
			require.Equal(t, healthy, c.state(hurry).Status)
			time.Sleep(time.Second)
			synctest.Wait() // the answer comes at the same instant
			require.Equal(t, unhealthy, c.state(hurry).Status)
		})
	})
}

func TestHealthOfWhatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := true
		c := newCheck(func(ctx context.Context) dependency {
			if good {
				return dependency{Status: healthy}
			}
			<-ctx.Done()
			return dependency{Status: unhealthy, Error: "does not answer"}
		})
		e := echo.New()
		e.GET("/", single(c, detailed))
		get := func() int {
			response := httptest.NewRecorder()
			e.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/", nil))
			return response.Code
		}
		require.Equal(t, http.StatusOK, get())
		good = false
		time.Sleep(checkEvery)
		require.Equal(t, http.StatusServiceUnavailable, get(), "the first who asks learns of it")
	})
}

// hours is a clock that is so far ahead of the database's.
func hours(n int) func() time.Duration {
	return func() time.Duration { return time.Duration(n) * time.Hour }
}

func TestHealth(t *testing.T) {
	t.Parallel()
	state := func(d dependency) *check { return newCheck(func(context.Context) dependency { return d }) }
	good, bad := dependency{Status: healthy}, dependency{Status: unhealthy, Error: "redis is read-only: it is a replica"}
	paused := event.NewLane("identity.email", event.DefaultProbing, time.Now, nil)
	facts := func(f status.Facts) *cached[status.Facts] {
		return &cached[status.Facts]{ask: func(context.Context) status.Facts { return f }}
	}
	now := time.Now()
	for name, test := range map[string]struct {
		change           func(h *health)
		ready, health    int
		overall, details string
	}{
		"all is well":              {func(*health) {}, 200, 200, healthy, `"redis":{"status":"healthy"}`},
		"the database is away":     {func(h *health) { h.database = state(bad) }, 503, 503, unhealthy, bad.Error},
		"the database is readable": {func(h *health) { h.database = state(dependency{Status: degraded, Error: "read-only"}) }, 200, 200, degraded, "read-only"},
		"redis refuses writes":     {func(h *health) { h.redis = state(bad) }, 200, 200, degraded, bad.Error},
		"rabbitmq is away":         {func(h *health) { h.rabbitmq = state(bad) }, 200, 200, degraded, bad.Error},
		"rows cannot be opened":    {func(h *health) { h.sealing = func() error { return event.ErrRejected } }, 200, 200, degraded, "warnings"},
		"a clock that is fast":     {func(h *health) { h.ahead = hours(1) }, 200, 200, degraded, "clock is 1h0m0s ahead of the database's"},
		"a clock that is slow":     {func(h *health) { h.ahead = hours(-1) }, 200, 200, degraded, "clock is 1h0m0s behind the database's"},
		"a setting is risky":       {func(h *health) { h.risks = []string{"too open"} }, 200, 200, healthy, `"settings":{"warnings":["too open"]}`},
		"a queue is not consumed":  {func(h *health) { h.consuming = func() error { return event.ErrRefused } }, 503, 200, degraded, event.ErrRefused.Error()},
		"its lanes are open": {
			func(h *health) { h.consuming = func() error { return nil }; h.lanes = []*event.Lane{paused} },
			200, 200, healthy, `"lanes":[{"queue":"identity.email","paused":false}]`,
		},
		"a role is gone": {
			func(h *health) {
				h.facts = facts(status.Facts{At: now, Roles: []string{"consumer"}, Processes: []status.Group{}})
			}, 200, 200, degraded, `"service":{"status":"degraded","problems":[{"alert":"RoleGone","what":"no process`,
		},
		"mails are owed for long": {
			func(h *health) { h.facts = facts(status.Facts{At: now, Mails: &status.Mails{Owed: 3, Oldest: 121}}) },
			200, 200, degraded, "3 mails are owed, the oldest for 2m1s",
		},
		"a dead letter lies there": {
			func(h *health) {
				h.facts = facts(status.Facts{At: now, Mails: &status.Mails{}, Queues: []status.Queue{{Name: EmailQueue, Dead: new(1)}}})
			}, 200, 200, healthy, `"mails":{"owed":0,"oldest_owed_seconds":0}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &health{
				database: state(good), redis: state(good), rabbitmq: state(good), facts: facts(status.Facts{}),
				sealing: func() error { return nil },
				ahead:   hours(0),
			}
			test.change(h)
			ofTheService := !h.facts.ask(t.Context()).At.IsZero()
			e := echo.New()
			h.register(e, detailed)
			for path, want := range map[string]int{"/ready": test.ready, "/health": test.health} {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					response := httptest.NewRecorder()
					e.ServeHTTP(response, httptest.NewRequest(method, path, nil))
					require.Equal(t, want, response.Code, path)
					if path == "/health" || !ofTheService {
						require.Contains(t, response.Body.String(), test.details)
					} else {
						require.NotContains(t, response.Body.String(), test.details, "it is asked of no probe")
					}
					if path == "/health" {
						require.Contains(t, strings.ReplaceAll(response.Body.String(), " ", ""), `"data":{"status":"`+test.overall)
					}
				}
			}
		})
	}

	t.Run("says that mail is paused", func(t *testing.T) {
		t.Parallel()
		lane := event.NewLane("identity.email", event.DefaultProbing, time.Now, nil)
		refused := event.Blocked(event.ErrRefused)
		_ = lane.Handle(t.Context(), event.Delivery{}, false, func(context.Context, event.Delivery) error { return refused },
			func(time.Duration) bool { return false })
		d := (&health{lanes: []*event.Lane{lane}}).mail()
		require.Equal(t, degraded, d.Status)
		require.True(t, d.Lanes[0].Paused)
		require.Contains(t, d.Error, "mail is paused")
	})
	t.Run("says that a person has paused mail", func(t *testing.T) {
		t.Parallel()
		lane := event.NewLane("identity.email", event.DefaultProbing, time.Now, nil)
		lane.Halt(event.Halt{By: "an", Since: time.Now()})
		d := (&health{lanes: []*event.Lane{lane}}).mail()
		require.Equal(t, degraded, d.Status)
		require.Equal(t, "an", d.Lanes[0].Halt.By)
		require.Contains(t, d.Error, "consumer lane resume")
	})
}
