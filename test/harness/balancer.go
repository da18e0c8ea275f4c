package harness

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Balancer is an nginx with the configuration of compose.yaml before two apis that keep their addresses. It asks none of
// them whether it is ready: it learns that one stops when that refuses a connection.
type Balancer struct {
	URL string
	// APIs are the environments of the two ("NAME=value").
	APIs [2][]string
}

// NewBalancer starts nginx for this test. make stack-up installs it on Debian.
func NewBalancer(tb testing.TB) *Balancer {
	tb.Helper()
	binary := "/usr/sbin/nginx"
	if _, err := os.Stat(binary); err != nil {
		binary, err = exec.LookPath("nginx")
		require.NoError(tb, err, "install nginx; make stack-up does it on Debian")
	}
	root, err := repository()
	require.NoError(tb, err)
	config, err := os.ReadFile(filepath.Join(root, "deployments", "nginx.conf"))
	require.NoError(tb, err)

	// Outgoing connections take ports of 127.0.0.1 only: an api gets its own again after a restart.
	const first, second = "127.0.0.2", "127.0.0.3"
	b := &Balancer{}
	ports := [2]string{freePort(tb, first), freePort(tb, second)}
	for i, host := range []string{first, second} {
		b.APIs[i] = []string{"HOST=" + host, "APP_PORT=" + ports[i]}
	}
	own := freePort(tb, "127.0.0.1")
	b.URL = "http://127.0.0.1:" + own
	dir := tb.TempDir()
	text := string(config)
	for from, to := range map[string]string{
		"api-1:8080":        first + ":" + ports[0],
		"api-2:8080":        second + ":" + ports[1],
		"listen 8080":       "listen 127.0.0.1:" + own,
		"/tmp/nginx.pid":    filepath.Join(dir, "pid"),
		"/dev/stdout short": "off",
	} {
		require.Contains(tb, text, from)
		text = strings.ReplaceAll(text, from, to)
	}
	path := filepath.Join(dir, "nginx.conf")
	require.NoError(tb, os.WriteFile(path, []byte(text), 0o600)) //nolint:gosec // G703: a folder of the test

	log := newLog()
	command := exec.Command(binary, "-c", path, "-e", "stderr", "-g", "daemon off;") //nolint:gosec // G204: as in production
	command.Stdout, command.Stderr = log, log
	require.NoError(tb, command.Start())
	tb.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt) // its workers end with it
		_ = command.Wait()
		if lines := log.Lines(0); tb.Failed() {
			tb.Logf("the last lines of nginx:\n  %s", strings.Join(lines[max(0, len(lines)-shownLines):], "\n  "))
		}
	})
	Soon(tb, func() error { return listens("127.0.0.1:" + own) })
	return b
}

// freePort returns a port of host that nobody listens on.
func freePort(tb testing.TB, host string) string {
	tb.Helper()
	free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(tb, err)
	_, port, err := net.SplitHostPort(free.Addr().String())
	require.NoError(tb, errors.Join(err, free.Close()))
	return port
}

// listens returns nil when address accepts connections.
func listens(address string) error {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		err = conn.Close()
	}
	return err
}
