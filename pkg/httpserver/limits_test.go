package httpserver

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	t.Run("gives a route another body limit", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{BodyLimit: 3, Routes: map[string]Limits{"POST /big/:id": {Body: 1 << 20}, "POST /small": {Body: 2}}})
		for _, path := range []string{"/big/:id", "/small", "/usual"} {
			b.POST(path, func(c echo.Context) error {
				if err := Extend(c); err != nil {
					return err
				}
				n, err := io.Copy(io.Discard, c.Request().Body)
				if err != nil {
					return err
				}
				return Success(c, http.StatusOK, n)
			})
		}
		b.PUT("/big/:id", func(c echo.Context) error { return Success(c, http.StatusOK, nil) })
		server := httptest.NewServer(b)
		defer server.Close()
		for name, tt := range map[string]struct {
			method, path string
			length       int
			chunked      bool
			status       int
		}{
			"the usual":              {"POST", "/usual", 3, false, 200},
			"over the usual":         {"POST", "/usual", 4, false, 413},
			"more":                   {"POST", "/big/1", 1 << 20, false, 200},
			"more, chunked":          {"POST", "/big/1", 1 << 20, true, 200},
			"over more":              {"POST", "/big/1", 1<<20 + 1, false, 413},
			"over more, chunked":     {"POST", "/big/1", 1<<20 + 1, true, 413},
			"far over more":          {"POST", "/big/1", 8 << 20, false, 413},
			"less":                   {"POST", "/small", 3, false, 413},
			"another method's route": {"PUT", "/big/1", 4, false, 413},
		} {
			t.Run(name, func(t *testing.T) {
				var body io.Reader = strings.NewReader(strings.Repeat("a", tt.length))
				if tt.chunked {
					body = io.MultiReader(body)
				}
				r, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+tt.path, body)
				require.NoError(t, err)
				res, err := http.DefaultClient.Do(r)
				require.NoError(t, err, "the refusal arrives")
				require.NoError(t, res.Body.Close())
				require.Equal(t, tt.status, res.StatusCode)
			})
		}
	})

	t.Run("gives a route another timeout", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{Timeout: 15 * time.Second, Routes: map[string]Limits{
			"POST /upload": {Timeout: 5 * time.Minute}, "GET /report": {Timeout: 5 * time.Minute},
			"GET /stream": {Timeout: NoTimeout}, "POST /big": {Body: 100},
		}})
		var left time.Duration // 0: no deadline
		handler := func(c echo.Context) error {
			before, _ := c.Request().Context().Deadline()
			require.InDelta(t, 15*time.Second, time.Until(before), float64(5*time.Second), "until it is extended")
			require.NoError(t, Extend(c))
			require.NoError(t, Extend(c), "a second time changes nothing")
			left = 0
			if at, ok := c.Request().Context().Deadline(); ok {
				left = time.Until(at)
			}
			return nil
		}
		serve := func(method, path, body string) *connection {
			b.Add(method, path, handler)
			w := &connection{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequest(method, path, nil)
			if body != "" {
				r = httptest.NewRequest(method, path, strings.NewReader(body))
			}
			b.ServeHTTP(w, r)
			return w
		}
		const margin = 5 * time.Second // for a machine that is busy
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }

		for _, path := range []string{"/usual", "/big"} {
			w := serve("POST", path, "a")
			require.InDelta(t, 15*time.Second, left, float64(margin), path)
			require.Nil(t, w.read, path)
			require.Nil(t, w.write, "the server's own deadlines are the right ones")
		}
		w := serve("POST", "/upload", "a")
		require.InDelta(t, 5*time.Minute, left, float64(margin))
		require.WithinDuration(t, in(5*time.Minute), *w.read, margin)
		require.WithinDuration(t, in(5*time.Minute+responseTime), *w.write, margin, "a request that timed out still gets a response")

		w = serve("GET", "/report", "")
		require.InDelta(t, 5*time.Minute, left, float64(margin))
		require.Nil(t, w.read, "net/http reads on to see the client go")
		require.NotNil(t, w.write)

		w = serve("GET", "/stream", "")
		require.Zero(t, left)
		require.Nil(t, w.read)
		require.True(t, w.write.IsZero(), "no deadline at all")
	})

	t.Run("leaves everything as usual until the handler extends it", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{BodyLimit: 3, Timeout: 15 * time.Second, Routes: map[string]Limits{
			"POST /": {Body: 100, Timeout: NoTimeout},
		}})
		var read int
		b.POST("/", func(c echo.Context) error {
			deadline, _ := c.Request().Context().Deadline()
			require.InDelta(t, 15*time.Second, time.Until(deadline), float64(5*time.Second))
			body, err := io.ReadAll(c.Request().Body)
			read = len(body)
			return err
		})
		w := &connection{ResponseRecorder: httptest.NewRecorder()}
		b.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("four")))
		require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
		require.Equal(t, 3, read)
		require.Nil(t, w.write)
	})

	t.Run("gives an extended request a context that ends with the client's", func(t *testing.T) {
		t.Parallel()
		type key struct{}
		for _, timeout := range []time.Duration{NoTimeout, time.Hour} {
			b := newBench(Options{Timeout: time.Minute, Routes: map[string]Limits{"GET /": {Timeout: timeout}}})
			client, leave := context.WithCancel(t.Context())
			var after context.Context
			b.GET("/", func(c echo.Context) error {
				c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), key{}, "kept")))
				require.NoError(t, Extend(c))
				after = c.Request().Context()
				require.Equal(t, "kept", after.Value(key{}))
				require.NoError(t, after.Err())
				leave()
				<-after.Done()
				return after.Err()
			})
			w := httptest.NewRecorder()
			b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(client))
			require.Equal(t, statusClientGone, w.Code)
		}
	})

	t.Run("responds 503 when a dependency hangs", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{Timeout: time.Millisecond})
		b.GET("/x", func(c echo.Context) error {
			<-c.Request().Context().Done()
			return context.Cause(c.Request().Context())
		})
		w := b.get("/x")
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.JSONEq(t, `{"error_code":503,"message":"Service Unavailable"}`, w.Body.String())
		require.Equal(t, "error", b.line(t)["level"])
	})
}

// connection records its deadlines.
type connection struct {
	*httptest.ResponseRecorder
	read, write *time.Time
}

func (w *connection) SetReadDeadline(t time.Time) error  { w.read = &t; return nil }
func (w *connection) SetWriteDeadline(t time.Time) error { w.write = &t; return nil }

// TestRefusedBody has clients that send less than they announce, or nothing more, to a route that they may not use. None of
// it is waited for: the server's own deadline is half a minute away.
func TestRefusedBody(t *testing.T) {
	t.Parallel()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	e := New(Options{Log: zerolog.Nop(), Routes: map[string]Limits{"POST /upload": {Body: 16 << 20, Timeout: time.Hour}}})
	e.POST("/upload", func(echo.Context) error { return echo.ErrForbidden })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, e, listener, Drain{Timeout: time.Minute}) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	for name, sent := range map[string]string{
		"a large body":                "Content-Length: 16777206\r\n\r\n0123456789",
		"a small body":                "Content-Length: 100\r\n\r\n0123456789",
		"a body without a length":     "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n",
		"a body that waits to be let": "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
		"too large a body":            "Content-Length: 99999999\r\n\r\n0123456789",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", listener.Addr().String())
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			require.NoError(t, conn.SetDeadline(time.Now().Add(15*time.Second)))
			_, err = io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: x\r\n"+sent)
			require.NoError(t, err)
			got, err := io.ReadAll(conn)
			require.NoError(t, err, "the connection is closed, and not reset before the response is read")
			require.True(t, strings.HasPrefix(string(got), "HTTP/1.1 403 "), string(got))
			require.Contains(t, string(got), "Connection: close\r\n")
		})
	}
}
