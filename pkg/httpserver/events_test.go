package httpserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	t.Run("writes text/event-stream", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.GET("/x", func(c echo.Context) error {
			e, err := OpenEvents(c, EventOptions{Retry: 2500 * time.Millisecond})
			require.NoError(t, err)
			require.NoError(t, e.Send("progress", "", map[string]string{"text": "two\nlines"}))
			require.NoError(t, e.Beat())
			require.NoError(t, e.Send("completed", "final", 1))
			require.Error(t, e.Send("broken", "", make(chan int)), "what is no JSON is not sent")
			return nil
		})
		w := b.get("/x")
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "text/event-stream", w.Header().Get("Content-Type"))
		require.Equal(t, "no", w.Header().Get("X-Accel-Buffering"))
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.True(t, w.Flushed)
		require.Equal(t, "retry: 2500\n\nevent: progress\ndata: {\"text\":\"two\\nlines\"}\n\n:\n\n"+
			"event: completed\nid: final\ndata: 1\n\n", w.Body.String())
	})

	t.Run("counts as an open stream and not as a request", func(t *testing.T) {
		t.Parallel()
		metrics := prometheus.NewRegistry()
		b := newBench(Options{Metrics: metrics})
		observed := func() (durations int, open float64) {
			families, err := metrics.Gather()
			require.NoError(t, err)
			for _, f := range families {
				switch f.GetName() {
				case "http_request_duration_seconds":
					durations = len(f.GetMetric())
				case "http_streams_open":
					require.Len(t, f.GetMetric(), 1)
					require.Equal(t, "/x/:id", f.GetMetric()[0].GetLabel()[0].GetValue())
					open = f.GetMetric()[0].GetGauge().GetValue()
				}
			}
			return durations, open
		}
		requireObserved := func(wantDurations int, wantOpen float64, why string) {
			t.Helper()
			durations, open := observed()
			require.Equal(t, wantDurations, durations, why)
			require.InDelta(t, wantOpen, open, 0, why)
		}
		b.GET("/x/:id", func(c echo.Context) error {
			if c.Param("id") == "refused" {
				return errBody
			}
			_, err := OpenEvents(c, EventOptions{})
			requireObserved(0, 1, "while it is open")
			return err
		})
		require.Equal(t, http.StatusOK, b.get("/x/1").Code)
		requireObserved(0, 0, "when it has ended")
		require.Equal(t, "/x/:id", b.line(t)["route"], "it is logged like any other")
		require.Equal(t, http.StatusBadRequest, b.get("/x/refused").Code)
		requireObserved(1, 0, "what was refused was never a stream")
	})

	t.Run("has time to end, however long ago its last event was", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := newBench(Options{})
			w := &connection{ResponseRecorder: httptest.NewRecorder()}
			b.GET("/x", func(c echo.Context) error {
				e, err := OpenEvents(c, EventOptions{})
				require.NoError(t, err)
				time.Sleep(time.Minute) // of the bubble's clock
				require.True(t, w.write.Before(time.Now()))
				e.End()
				return nil
			})
			b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
			require.Equal(t, time.Now().Add(defaultEventTimeout), *w.write)
		})
	})

	t.Run("ends when the server drains", func(t *testing.T) {
		t.Parallel()
		url, stop, ended := streaming(t, func(c echo.Context) error {
			e, err := OpenEvents(c, EventOptions{})
			if err != nil {
				return err
			}
			if err := e.Send("progress", "", 1); err != nil {
				return err
			}
			<-Draining(c.Request().Context())
			return nil
		})
		res, err := http.Get(url)
		require.NoError(t, err)
		defer func() { require.NoError(t, res.Body.Close()) }()
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() && lines.Text() != "data: 1" {
			continue
		}
		require.NoError(t, lines.Err())
		stop()
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err, "it ends in order")
		require.NoError(t, <-ended)
	})

	t.Run("ends when the client does not read", func(t *testing.T) {
		t.Parallel()
		gone := make(chan error, 1)
		url, _, _ := streaming(t, func(c echo.Context) error {
			e, err := OpenEvents(c, EventOptions{WriteTimeout: 50 * time.Millisecond})
			for text := strings.Repeat("a", 1<<20); err == nil; {
				err = e.Send("progress", "", text)
			}
			gone <- err
			return nil
		})
		res, err := http.Get(url)
		require.NoError(t, err)
		defer func() { require.NoError(t, res.Body.Close()) }()
		require.ErrorContains(t, <-gone, "writing to a stream")
	})
}

// streaming serves one route until the test ends or stop is called.
func streaming(t *testing.T, handler echo.HandlerFunc) (url string, stop context.CancelFunc, ended <-chan error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := New(Options{Log: zerolog.Nop(), Timeout: time.Minute, Routes: map[string]Limits{"GET /x": {Timeout: NoTimeout}}})
	e.GET("/x", handler)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, e, listener, Drain{Timeout: time.Minute}) }()
	return "http://" + listener.Addr().String() + "/x", cancel, done
}

func TestDraining(t *testing.T) {
	t.Parallel()
	t.Run("is nil outside Serve", func(t *testing.T) {
		t.Parallel()
		require.Nil(t, Draining(httptest.NewRequest(http.MethodGet, "/", nil).Context()))
	})
}
