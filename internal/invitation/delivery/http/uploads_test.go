package http_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/httpserver"
)

// served is a server on a real listener, with its deadlines.
type served struct {
	*testing.T
	address string
}

func startServer(t *testing.T) served {
	listener, err := httpserver.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	e := newServer(&invitations{rejected: "[]"})
	go func() { ended <- httpserver.Serve(ctx, e, listener, httpserver.Drain{Timeout: time.Minute}) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return served{t, listener.Addr().String()}
}

// sent is an upload whose body follows, or not.
type sent struct {
	served
	conn net.Conn
	r    *bufio.Reader
}

// begin sends the headers of an upload of 7 bytes. The server asks for them when it is about to read them.
func (s served) begin(role, user string) sent {
	return s.send(fmt.Sprintf("Cookie: role=%s; user=%s\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n", role, user))
}

func (s served) send(rest string) sent {
	conn, err := net.Dial("tcp", s.address)
	require.NoError(s, err)
	s.Cleanup(func() { _ = conn.Close() })
	require.NoError(s, conn.SetDeadline(time.Now().Add(20*time.Second))) // less than the server's own
	_, err = io.WriteString(conn, "POST /users/invitations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"+rest)
	require.NoError(s, err)
	return sent{s, conn, bufio.NewReader(conn)}
}

func (u sent) response() *http.Response {
	u.Helper()
	response, err := http.ReadResponse(u.r, nil)
	require.NoError(u, err)
	return response
}

// requireBegun checks that the server reads the body.
func (u sent) requireBegun() sent {
	u.Helper()
	require.Equal(u, http.StatusContinue, u.response().StatusCode)
	return u
}

// end sends the body.
func (u sent) end() {
	u.Helper()
	_, err := io.WriteString(u.conn, "a@x.vn\n")
	require.NoError(u, err)
	require.Equal(u, http.StatusAccepted, u.response().StatusCode)
}

func TestUploads(t *testing.T) {
	const ownFull = `{"error_code":429,"message":"Your other uploads are still under way; try again when one has ended"}`
	const full = `{"error_code":503,"message":"Other uploads are under way; please try again in a moment"}`

	t.Run("are two at a time for an administrator, and four in all", func(t *testing.T) {
		s := startServer(t)
		first := s.begin("ADMIN", "an").requireBegun()
		s.begin("ADMIN", "an").requireBegun()
		refused := s.begin("ADMIN", "an").response()
		require.Equal(t, "10", refused.Header.Get("Retry-After"))
		requireResponse(t, refused, http.StatusTooManyRequests, ownFull)

		s.begin("ADMIN", "binh").requireBegun()
		last := s.begin("ADMIN", "chi").requireBegun()
		refused = s.begin("ADMIN", "dung").response()
		require.Equal(t, "10", refused.Header.Get("Retry-After"))
		requireResponse(t, refused, http.StatusServiceUnavailable, full)

		last.end()
		s.begin("ADMIN", "dung").requireBegun()
		first.end()
		s.begin("ADMIN", "an").requireBegun()
	})

	// Whatever is spooled would fail.
	t.Run("are not read from users who may not send them", func(t *testing.T) {
		s := startServer(t)
		t.Setenv("TMPDIR", t.TempDir()+"/missing")
		for role, status := range map[string]int{"USER": http.StatusForbidden, "": http.StatusUnauthorized} {
			require.Equal(t, status, s.begin(role, "an").response().StatusCode, "the server does not ask for the body")
			slow := make([]sent, 25)
			for i := range slow {
				slow[i] = s.send("Cookie: role=" + role + "\r\nContent-Length: 16777206\r\n\r\n0123456789")
			}
			for _, u := range slow {
				require.Equal(t, status, u.response().StatusCode)
				_, err := io.Copy(io.Discard, u.r)
				require.NoError(t, err, "the connection is closed")
			}
		}
	})
}
