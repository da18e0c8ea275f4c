package http_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	delivery "github.com/smap-platform/identity/internal/project/delivery/http"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// streams are the streams of one process in a synctest bubble. The query says whose they are.
type streams struct {
	*testing.T
	e    *echo.Echo
	left atomic.Bool // the callers have logged out
}

func newStreams(t *testing.T, r delivery.Reading) *streams {
	s := &streams{T: t}
	s.e = httpserver.New(httpserver.Options{Log: zerolog.Nop(), Timeout: 15 * time.Second, Routes: delivery.Limits()})
	delivery.Register(s.e.Group(""), r, func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			httpserver.SetPrincipal(c, httpserver.Principal{Subject: c.QueryParam("user"), Role: "USER"})
			return next(c)
		}
	}, func(context.Context, echo.Context) bool { return !s.left.Load() }, delivery.CheckEvery)
	return s
}

// open opens n streams of a user at once, and returns those that were refused and how to hang up the others.
func (s *streams) open(user string, n int) (refused []*deadlines, hangUp func()) {
	ctx, hangUp := context.WithCancel(context.Background())
	var mu sync.Mutex
	for range n {
		go func() {
			w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequest(http.MethodGet, "/projects/p/progress/stream?user="+user, nil)
			s.e.ServeHTTP(w, r.WithContext(ctx))
			if w.Code != http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, w)
			}
		}()
	}
	synctest.Wait()
	return refused, hangUp
}

// deadlines records that of its connection.
type deadlines struct {
	*httptest.ResponseRecorder
	moved bool
}

func (w *deadlines) SetReadDeadline(time.Time) error  { w.moved = true; return nil }
func (w *deadlines) SetWriteDeadline(time.Time) error { w.moved = true; return nil }

func TestStreams(t *testing.T) {
	t.Parallel()
	t.Run("are 20 of a user at a time", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reading{now: progress(project.StatusProcessing, 3, 1, 0)}
			s := newStreams(t, r)
			refused, hangUpAn := s.open("an", 50)
			require.Len(t, refused, 30)
			for _, w := range refused {
				require.Equal(t, http.StatusTooManyRequests, w.Code)
				require.NotEmpty(t, w.Header().Get("Retry-After"))
				require.JSONEq(t, `{"error_code":429,"message":"Too many pages of yours are watching projects; close one of them"}`,
					w.Body.String())
				require.False(t, w.moved)
			}
			refused, hangUpBinh := s.open("binh", 20)
			require.Empty(t, refused, "another user's are counted apart")

			time.Sleep(time.Minute) // of the bubble's clock: longer than a request without a stream may take
			require.Zero(t, r.stops())
			hangUpAn()
			synctest.Wait()
			require.Equal(t, 20, r.stops())
			refused, hangUpAgain := s.open("an", 21)
			require.Len(t, refused, 1)
			hangUpBinh()
			hangUpAgain()
		})
	})
	t.Run("end within a minute of their caller's logout", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := &reading{now: progress(project.StatusProcessing, 3, 1, 0)}
			s := newStreams(t, r)
			refused, hangUp := s.open("an", 3)
			defer hangUp()
			require.Empty(t, refused)

			time.Sleep(10 * time.Minute) // of the bubble's clock
			require.Zero(t, r.stops())

			s.left.Store(true)
			time.Sleep(time.Minute) // of the bubble's clock
			synctest.Wait()
			require.Equal(t, 3, r.stops())
		})
	})
	t.Run("leave the deadlines of a user who may not see the project", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := newStreams(t, &reading{err: project.ErrNotFound})
			refused, hangUp := s.open("an", 100)
			defer hangUp()
			for _, w := range refused {
				require.Contains(t, []int{http.StatusNotFound, http.StatusTooManyRequests}, w.Code)
				require.False(t, w.moved)
			}
			require.Len(t, refused, 100)
			refused, _ = s.open("an", 1)
			require.Equal(t, http.StatusNotFound, refused[0].Code, "none of them holds a place")
		})
	})
}
