package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

	command *exec.Cmd
	folder  string // of its configuration
	log     *Log
}

// NewBalancer starts nginx for this test. make stack-up installs it on Debian.
func NewBalancer(tb testing.TB) *Balancer {
	tb.Helper()
	// Outgoing connections take ports of 127.0.0.1 only: an api gets its own again after a restart.
	var addresses [2]string
	for i, host := range []string{"127.0.0.2", "127.0.0.3"} {
		addresses[i] = net.JoinHostPort(host, freePort(tb, host))
	}
	b, err := StartBalancer(addresses)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		b.Close()
		if lines := b.log.Lines(0); tb.Failed() {
			tb.Logf("the last lines of nginx:\n  %s", strings.Join(lines[max(0, len(lines)-shownLines):], "\n  "))
		}
	})
	return b
}

// StartBalancer starts nginx before two apis with these addresses. make stack-up installs it on Debian.
func StartBalancer(apis [2]string) (*Balancer, error) {
	binary := "/usr/sbin/nginx"
	if _, err := os.Stat(binary); err != nil {
		if binary, err = exec.LookPath("nginx"); err != nil {
			return nil, fmt.Errorf("install nginx; make stack-up does it on Debian: %w", err)
		}
	}
	root, err := repository()
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(filepath.Join(root, "deployments", "nginx.conf"))
	if err != nil {
		return nil, err
	}
	b := &Balancer{log: newLog()}
	for i, address := range apis {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		b.APIs[i] = []string{"HOST=" + host, "APP_PORT=" + port}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	own := free.Addr().String()
	b.URL = "http://" + own
	text, err := moved(string(config), own, apis[:]...)
	if err := errors.Join(err, free.Close()); err != nil {
		return nil, err
	}
	if b.folder, err = os.MkdirTemp("", "nginx-"); err != nil {
		return nil, err
	}
	path := filepath.Join(b.folder, "nginx.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // G703: a folder of ours
		return nil, err
	}
	b.command = exec.Command(binary, "-c", path, "-e", "stderr", "-g", "daemon off;") //nolint:gosec // G204: as in production
	b.command.Stdout, b.command.Stderr = b.log, b.log
	if err := b.command.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return b, Eventually(ctx, func() error { return listens(own) })
}

// Close stops nginx.
func (b *Balancer) Close() {
	_ = b.command.Process.Signal(os.Interrupt) // its workers end with it
	_ = b.command.Wait()
	_ = os.RemoveAll(b.folder)
}

// moved returns nginx's configuration with other addresses. Nothing but the line in which it listens and those of its
// upstreams is another one.
func moved(config, own string, apis ...string) (string, error) {
	listen, servers := regexp.MustCompile(`^ *listen `), regexp.MustCompile(`^ *server api-[12]:8080 `)
	lines := strings.Split(config, "\n")
	var changed []string
	for i, line := range lines {
		switch {
		case listen.MatchString(line):
			lines[i] = "    listen " + own + ";"
		case servers.MatchString(line) && len(apis) > 0:
			lines[i] = regexp.MustCompile(`api-[12]:8080`).ReplaceAllLiteralString(line, apis[0])
			apis = apis[1:]
		default:
			continue
		}
		changed = append(changed, strings.TrimSpace(line))
	}
	if want := []string{
		"server api-1:8080 max_fails=1 fail_timeout=1s;", "server api-2:8080 max_fails=1 fail_timeout=1s;", "listen 8080;",
	}; !slices.Equal(want, changed) {
		return "", fmt.Errorf("the lines that differ from nginx.conf are %q, expected %q", changed, want)
	}
	return strings.Join(lines, "\n"), nil
}

// Client returns a new client without cookies whose requests go through nginx.
func (b *Balancer) Client() *Client {
	return ClientOf(b.URL)
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
