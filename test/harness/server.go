package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Server is a server of the stack.
type Server string

// The servers a fault can be injected into.
const (
	RabbitMQ   Server = "rabbitmq"
	Redis      Server = "redis"
	PostgreSQL Server = "postgres"
)

// Kill ends the server with SIGKILL and returns when the last of its threads has released the ports.
func (s Server) Kill(ctx context.Context) error {
	if err := s.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return Eventually(ctx, func() error {
		state, threads := s.process()
		if state == dead || state == zombie && threads <= 1 {
			return nil
		}
		return fmt.Errorf("%s still has %d threads", s, threads)
	})
}

// Stop freezes the server with SIGSTOP: connections stay open, and it responds to nothing.
func (s Server) Stop(context.Context) error { return s.signal(syscall.SIGSTOP) }

// Continue undoes Stop.
func (s Server) Continue(context.Context) error { return s.signal(syscall.SIGCONT) }

// Restart starts the server again and returns when it responds.
func (s Server) Restart(ctx context.Context) error { return stack(ctx, "restart", string(s)) }

// RabbitMQCtl runs the broker's own tool.
func RabbitMQCtl(ctx context.Context, args ...string) error {
	return stack(ctx, append([]string{"rabbitmqctl"}, args...)...)
}

// Repair makes the stack whole again.
func Repair(ctx context.Context) error {
	for _, s := range []Server{RabbitMQ, Redis, PostgreSQL} {
		if state, _ := s.process(); state == dead || state == frozen || state == zombie {
			return stack(ctx, "up")
		}
	}
	return nil
}

func (s Server) signal(signal syscall.Signal) error {
	pid, err := s.pid()
	if err != nil {
		return err
	}
	return syscall.Kill(pid, signal)
}

// States of a process, as proc(5) has them.
const (
	dead   = ""
	frozen = "T"
	zombie = "Z"
)

// process returns the state of the server's process and how many threads it has.
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
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // gone meanwhile: no threads
	return fields[:1], len(tasks)
}

func (s Server) pid() (int, error) {
	root, err := repository()
	if err != nil {
		return 0, err
	}
	raw, err := os.ReadFile(filepath.Join(root, ".stack", "run", string(s)+".pid"))
	if err != nil {
		return 0, errors.Join(errors.New("the stack does not run as processes; make stack-up starts it so on Linux"), err)
	}
	return strconv.Atoi(strings.TrimSpace(string(raw)))
}

func stack(ctx context.Context, args ...string) error {
	root, err := repository()
	if err != nil {
		return err
	}
	path := filepath.Join(root, "deployments", "stack.sh")
	script := exec.CommandContext(ctx, path, args...) //nolint:gosec // G204: the tests' own words
	script.Dir = root
	if out, err := script.CombinedOutput(); err != nil {
		return fmt.Errorf("stack.sh %q: %w\n%s", args, err, out)
	}
	return nil
}
