package http_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// tape records the response, to be read piece by piece.
type tape struct {
	mu     sync.Mutex
	header http.Header
	status int
	text   strings.Builder
}

func (w *tape) Header() http.Header { return w.header }
func (w *tape) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}
func (w *tape) Flush() {}
func (w *tape) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *tape) drain() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.text.String()
	w.text.Reset()
	return text
}

// open is an open stream in a synctest bubble.
type open struct {
	*testing.T
	reading *reading
	w       *tape
	hangUp  context.CancelFunc
	ended   chan struct{}
}

func stream(t *testing.T, now project.Progress) *open {
	ctx, cancel := context.WithCancel(context.Background())
	o := &open{
		T:       t,
		reading: &reading{now: now, changes: make(chan project.Progress, 1)},
		hangUp:  cancel,
		ended:   make(chan struct{}),
	}
	o.w = &tape{header: http.Header{}}
	e := server(nil, o.reading, user)
	go func() {
		defer close(o.ended)
		e.ServeHTTP(o.w, httptest.NewRequest(http.MethodGet, "/projects/p/progress/stream", nil).WithContext(ctx))
	}()
	synctest.Wait()
	return o
}

// sent returns what was sent since the last call.
func (o *open) sent() string {
	synctest.Wait()
	return o.w.drain()
}

func (o *open) requireEnded() {
	o.Helper()
	synctest.Wait()
	select {
	case <-o.ended:
	default:
		require.Fail(o, "the stream is still open")
	}
	require.Equal(o, 1, o.reading.stops(), "the watch is stopped")
}

var retry = regexp.MustCompile(`^retry: [2-4]\d{3}\n\n`)

func TestStream(t *testing.T) {
	t.Parallel()
	t.Run("sends the progress and its changes until the project is final", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := stream(t, progress(project.StatusProcessing, 3, 1, 0))
			first := o.sent()
			require.Regexp(t, retry, first)
			require.Equal(t, "event: progress\ndata: "+
				`{"project_id":"p","status":"PROCESSING","total":3,"done":1,"errors":0,"percent":33.33}`+"\n\n", retry.ReplaceAllString(first, ""))
			require.Equal(t, http.StatusOK, o.w.status)
			require.Equal(t, "text/event-stream", o.w.header.Get("Content-Type"))

			o.reading.changes <- progress(project.StatusProcessing, 3, 1, 0)
			require.Empty(t, o.sent(), "unchanged progress is not sent again")
			o.reading.changes <- progress(project.StatusProcessing, 3, 2, 1)
			require.Equal(t, "event: progress\ndata: "+
				`{"project_id":"p","status":"PROCESSING","total":3,"done":2,"errors":1,"percent":66.66}`+"\n\n", o.sent())
			o.reading.changes <- progress(project.StatusDone, 3, 3, 1)
			require.Equal(t, "event: completed\nid: final\ndata: "+
				`{"project_id":"p","status":"DONE","total":3,"done":3,"errors":1,"percent":100}`+"\n\n", o.sent())
			o.requireEnded()
		})
	})
	t.Run("sends a final project once", func(t *testing.T) {
		t.Parallel()
		for status, want := range map[project.Status]string{
			project.StatusDone: "event: completed\nid: final\n", project.StatusFailed: "event: progress\nid: final\n",
		} {
			synctest.Test(t, func(t *testing.T) {
				o := stream(t, progress(status, 3, 3, 1))
				require.Contains(t, o.sent(), want)
				o.requireEnded()
			})
		}
	})
	t.Run("ends when the project is forgotten", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := stream(t, progress(project.StatusProcessing, 3, 1, 0))
			o.sent()
			o.reading.changes <- progress(project.StatusNotFound, 0, 0, 0)
			sent := o.sent()
			require.Contains(t, sent, `"status":"NOT_FOUND"`)
			require.NotContains(t, sent, "id:", "a client that reconnects gets a 404")
			o.requireEnded()
		})
	})
	t.Run("ends the reconnecting after the last event", func(t *testing.T) {
		t.Parallel()
		r := &reading{now: progress(project.StatusDone, 1, 1, 0)}
		request := httptest.NewRequest(http.MethodGet, "/projects/p/progress/stream", nil)
		request.Header.Set("Last-Event-ID", "final")
		w := httptest.NewRecorder()
		server(nil, r, user).ServeHTTP(w, request)
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Empty(t, r.id)
	})
	t.Run("beats while idle and ends after an hour", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := stream(t, progress(project.StatusCrawling, 0, 0, 0))
			o.sent()
			time.Sleep(15*time.Second - time.Nanosecond) // of the bubble's clock
			require.Empty(t, o.sent())
			time.Sleep(time.Nanosecond)
			require.Equal(t, ":\n\n", o.sent())
			time.Sleep(time.Hour - 16*time.Second)
			require.Equal(t, strings.Repeat(":\n\n", 238), o.sent())
			time.Sleep(time.Second)
			o.requireEnded()
		})
	})
	t.Run("ends when the client disconnects", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := stream(t, progress(project.StatusProcessing, 3, 1, 0))
			o.hangUp()
			o.requireEnded()
		})
	})
	t.Run("ends when the server stops", func(t *testing.T) {
		t.Parallel()
		r := &reading{now: progress(project.StatusProcessing, 3, 1, 0)}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		ended := make(chan error, 1)
		go func() {
			ended <- httpserver.Serve(ctx, server(nil, r, user), listener, httpserver.Drain{Timeout: time.Minute})
		}()
		res, err := http.Get("http://" + listener.Addr().String() + "/projects/p/progress/stream")
		require.NoError(t, err)
		defer func() { require.NoError(t, res.Body.Close()) }()
		body := bufio.NewReader(res.Body)
		for line := ""; !strings.HasPrefix(line, "data:"); {
			line, err = body.ReadString('\n')
			require.NoError(t, err)
		}
		stop()
		_, err = io.Copy(io.Discard, body)
		require.NoError(t, err, "the response is complete")
		require.NoError(t, <-ended)
		require.Equal(t, 1, r.stops())
	})
}
