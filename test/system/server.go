package system

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Server is a server of the stack. Whatever is done to one, the stack is made whole again after the test.
type Server string

// The servers a fault can be injected into.
const (
	RabbitMQ   Server = "rabbitmq"
	Redis      Server = "redis"
	PostgreSQL Server = "postgres"
)

// Kill ends the server at once (SIGKILL), and returns when the last of its threads has let go of the ports.
func (s Server) Kill(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGKILL)
	Soon(tb, func() error {
		state, threads := s.process()
		if state == dead || state == zombie && threads <= 1 {
			return nil
		}
		return fmt.Errorf("%s still has %d threads", s, threads)
	})
}

// Stop freezes the server (SIGSTOP): connections stay open and nothing is answered. Continue lets it go on.
func (s Server) Stop(tb testing.TB) { tb.Helper(); s.signal(tb, syscall.SIGSTOP) }

// Continue undoes Stop.
func (s Server) Continue(tb testing.TB) { tb.Helper(); s.signal(tb, syscall.SIGCONT) }

// Restart starts the server again and returns when it answers.
func (s Server) Restart(tb testing.TB) { tb.Helper(); stack(tb, "restart", string(s)) }

// RabbitMQCtl runs the broker's own tool.
func RabbitMQCtl(tb testing.TB, args ...string) {
	tb.Helper()
	stack(tb, append([]string{"rabbitmqctl"}, args...)...)
}

func (s Server) signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	pid, err := s.pid()
	require.NoError(tb, err)
	tb.Cleanup(func() {
		if !s.whole() {
			stack(tb, "up")
		}
	})
	require.NoError(tb, syscall.Kill(pid, signal), "%s, pid %d", s, pid)
}

// States of a process, as proc(5) has them.
const (
	dead   = ""
	frozen = "T"
	zombie = "Z"
)

// whole tells whether the server runs and is not frozen. "stack.sh up" knows better, but takes a second.
func (s Server) whole() bool {
	state, _ := s.process()
	return state != dead && state != frozen && state != zombie
}

// process looks at the server's process.
func (s Server) process() (state string, threads int) {
	pid, err := s.pid()
	if err != nil {
		return dead, 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return dead, 0
	}
	_, fields, _ := strings.Cut(string(stat), ") ")
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // gone in between: no threads
	return fields[:1], len(tasks)
}

func (s Server) pid() (int, error) {
	root, err := repository()
	if err != nil {
		return 0, err
	}
	raw, err := os.ReadFile(filepath.Join(root, ".stack", "run", string(s)+".pid"))
	if err != nil {
		return 0, errors.Join(errors.New("the stack was not started as processes of this clone; make stack-up does so on Linux"), err)
	}
	return strconv.Atoi(strings.TrimSpace(string(raw)))
}

func stack(tb testing.TB, args ...string) {
	tb.Helper()
	root, err := repository()
	require.NoError(tb, err)
	script := exec.Command(filepath.Join(root, "deployments", "stack.sh"), args...) //nolint:gosec // G204: the words are the tests' own
	script.Dir = root
	out, err := script.CombinedOutput()
	require.NoError(tb, err, "stack.sh %q\n%s", args, out)
}
