package httpserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slow is a server with one route that is in flight from entered until release.
type slow struct {
	url      string
	entered  chan struct{}
	inFlight context.Context // the one in flight's; set when it has entered
	release  chan struct{}
	seen     chan error // the request's context after release
	stop     context.CancelFunc
	ended    chan error
}

func startSlow(t *testing.T, drain Drain) *slow {
	t.Helper()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	s := &slow{
		url: "http://" + listener.Addr().String(), stop: cancel,
		entered: make(chan struct{}), release: make(chan struct{}), seen: make(chan error, 1), ended: make(chan error, 1),
	}
	e := New(Options{Log: zerolog.Nop()})
	e.GET("/", func(c echo.Context) error { return Success(c, http.StatusOK, nil) })
	e.GET("/slow", func(c echo.Context) error {
		s.inFlight = c.Request().Context()
		close(s.entered)
		<-s.release
		s.seen <- c.Request().Context().Err()
		return Success(c, http.StatusOK, nil)
	})
	go func() { s.ended <- Serve(ctx, e, listener, drain) }()
	return s
}

type outcome struct {
	status int
	err    error
}

func (s *slow) request() <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		res, err := http.Get(s.url + "/slow")
		if err != nil {
			done <- outcome{err: err}
			return
		}
		_, err = io.Copy(io.Discard, res.Body)
		done <- outcome{res.StatusCode, errors.Join(err, res.Body.Close())}
	}()
	return done
}

func TestServe(t *testing.T) {
	t.Parallel()
	t.Run("lets requests in flight finish", func(t *testing.T) {
		t.Parallel()
		s := startSlow(t, Drain{Timeout: time.Minute})
		done := s.request()
		<-s.entered
		s.stop()
		require.Eventually(t, func() bool { // the moment it stops taking connections has no signal but this
			conn, err := net.Dial("tcp", s.url[len("http://"):])
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		}, 10*time.Second, time.Millisecond)
		require.Empty(t, s.ended, "it waits for the request")
		close(s.release)
		require.NoError(t, <-s.seen, "the request's context lives until it is drained")
		require.Equal(t, outcome{status: http.StatusOK}, <-done)
		require.NoError(t, <-s.ended)
	})

	t.Run("cuts what does not finish", func(t *testing.T) {
		t.Parallel()
		s := startSlow(t, Drain{Timeout: time.Millisecond})
		done := s.request()
		<-s.entered
		s.stop()
		err := <-s.ended
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "cut the requests still in flight after 1ms")
		require.Error(t, (<-done).err)
		<-s.inFlight.Done() // net/http sees the connection go a moment after the client does
		close(s.release)
		require.Error(t, <-s.seen, "the handler saw its connection go")
	})

	t.Run("goes on accepting while others notice, and closes every connection", func(t *testing.T) {
		t.Parallel()
		s := startSlow(t, Drain{Delay: 300 * time.Millisecond, Timeout: time.Minute})
		client := &http.Client{Transport: &http.Transport{}}
		get := func() (closed bool, err error) {
			res, err := client.Get(s.url)
			if err != nil {
				return false, err
			}
			_, err = io.Copy(io.Discard, res.Body)
			require.NoError(t, errors.Join(err, res.Body.Close()))
			require.Equal(t, http.StatusOK, res.StatusCode)
			return res.Close, nil
		}
		served := func() bool {
			closed, err := get()
			require.NoError(t, err)
			return closed
		}
		require.False(t, served())
		s.stop()
		require.Eventually(t, served, 10*time.Second, time.Millisecond, "on the connection that was kept")
		began := time.Now()
		last := began
		for time.Since(began) < 600*time.Millisecond { // twice the delay, as a client is still coming
			before := last
			last = time.Now()
			closed, err := get()
			if errors.Is(err, syscall.ECONNREFUSED) && time.Since(before) > quiet/2 { // the machine was busy: nobody came for so long
				last = before
				break
			}
			require.NoError(t, err)
			require.True(t, closed, "on a new one")
		}
		require.NoError(t, <-s.ended)
		require.GreaterOrEqual(t, time.Since(last), quiet/2) // measured from before the last request: a busy machine adds to it
	})

	t.Run("serves everybody who has connected, however many keep coming", func(t *testing.T) {
		t.Parallel()
		for range 3 {
			s := startSlow(t, Drain{Delay: 10 * time.Millisecond, Timeout: 4 * time.Second})
			var clients sync.WaitGroup
			var served atomic.Int64
			for range 8 {
				clients.Go(func() {
					client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
					for {
						res, err := client.Get(s.url)
						if errors.Is(err, syscall.ECONNREFUSED) {
							return
						}
						if !assert.NoError(t, err) {
							return
						}
						served.Add(1)
						assert.NoError(t, res.Body.Close())
					}
				})
			}
			require.Eventually(t, func() bool { return served.Load() > 100 }, 10*time.Second, time.Millisecond)
			s.stop()
			require.NoError(t, <-s.ended)
			clients.Wait()
		}
	})

	t.Run("ends at once without requests", func(t *testing.T) {
		t.Parallel()
		s := startSlow(t, Drain{Timeout: time.Minute})
		s.stop()
		require.NoError(t, <-s.ended)
	})

	t.Run("returns an error when the listener fails", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, listener.Close())
		err = Serve(t.Context(), New(Options{Log: zerolog.Nop()}), listener, Drain{Timeout: time.Second})
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorContains(t, err, "httpserver: serving on 127.0.0.1:")
	})

	t.Run("sets every limit of net/http", func(t *testing.T) {
		t.Parallel()
		e := New(Options{Log: zerolog.Nop()})
		server := newServer(e, e.StdLogger)
		require.Equal(t, 5*time.Second, server.ReadHeaderTimeout)
		require.Equal(t, 30*time.Second, server.ReadTimeout)
		require.Equal(t, 30*time.Second, server.WriteTimeout)
		require.Equal(t, 2*time.Minute, server.IdleTimeout)
		require.Same(t, e.StdLogger, server.ErrorLog)
	})

	t.Run("refuses huge headers", func(t *testing.T) {
		t.Parallel()
		s := startSlow(t, Drain{Timeout: time.Minute})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/slow", nil)
		require.NoError(t, err)
		r.Header.Set("Cookie", strings.Repeat("a", 64<<10))
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
		s.stop()
		require.NoError(t, <-s.ended)
	})
}
