package harness

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Balancer is an nginx with the configuration of compose.yaml, addresses apart, before two apis that keep theirs. It asks
// none of them whether it is ready: it learns that one stops when that refuses a connection.
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
	own := "127.0.0.1:" + freePort(tb, "127.0.0.1")
	b.URL = "http://" + own
	text := moved(tb, string(config), own, first+":"+ports[0], second+":"+ports[1])
	path := filepath.Join(tb.TempDir(), "nginx.conf")
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
	Soon(tb, func() error { return listens(own) })
	return b
}

// moved returns nginx's configuration with other addresses. Nothing but the line in which it listens and those of its
// upstreams is another one.
func moved(tb testing.TB, config, own string, apis ...string) string {
	tb.Helper()
	listen, servers := regexp.MustCompile(`^ *listen `), regexp.MustCompile(`^ *server api-[12]:8080 `)
	lines := strings.Split(config, "\n")
	var changed []string
	for i, line := range lines {
		switch {
		case listen.MatchString(line):
			lines[i] = "    listen " + own + ";"
		case servers.MatchString(line):
			require.NotEmpty(tb, apis, "nginx.conf has an api more")
			lines[i] = regexp.MustCompile(`api-[12]:8080`).ReplaceAllLiteralString(line, apis[0])
			apis = apis[1:]
		default:
			continue
		}
		changed = append(changed, strings.TrimSpace(line))
	}
	require.Equal(tb, []string{
		"server api-1:8080 max_fails=1 fail_timeout=1s;", "server api-2:8080 max_fails=1 fail_timeout=1s;", "listen 8080;",
	}, changed, "the lines that differ from nginx.conf")
	return strings.Join(lines, "\n")
}

// Client returns a new client without cookies whose requests go through nginx.
func (b *Balancer) Client() *Client {
	return newClient([]*Process{{Name: "nginx", url: b.URL}})
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
