package redisdb_test

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// process is a Redis process that syncs every command to disk before it replies, so that it can be killed.
type process struct {
	t       *testing.T
	address string
	dir     string
	command *exec.Cmd
}

func startRedis(t *testing.T) *process {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("INTEGRATION is set but redis-server is not in PATH; install Redis 7")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &process{t: t, address: free.Addr().String(), dir: t.TempDir()}
	require.NoError(t, free.Close())
	p.start()
	t.Cleanup(p.kill)
	return p
}

// start returns when the server has loaded its data and accepts connections.
func (p *process) start() {
	host, port, err := net.SplitHostPort(p.address)
	require.NoError(p.t, err)
	p.command = exec.Command("redis-server", "--bind", host, "--port", port, "--dir", p.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no")
	out, err := p.command.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.command.Start())
	var log strings.Builder
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			p.t.Fatalf("redis-server ended before it was ready:\n%s", log.String())
		}
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // the server must not block on its output
}

func (p *process) kill() {
	require.NoError(p.t, p.command.Process.Signal(syscall.SIGKILL))
	_ = p.command.Wait() // "signal: killed"
}
