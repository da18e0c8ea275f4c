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

// Server is a server of the stack, or of the cluster where the environment is that of .stack/cluster/env: "rabbitmq2".
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
func (s Server) Restart(ctx context.Context) error {
	if clustered() {
		return script(ctx, "start", string(s))
	}
	return script(ctx, "restart", string(s))
}

// RabbitMQCtl runs the broker's own tool, in the cluster on the first node.
func RabbitMQCtl(ctx context.Context, args ...string) error {
	first := []string{"rabbitmqctl"}
	if clustered() {
		first = append(first, "1")
	}
	return script(ctx, append(first, args...)...)
}

// Promote makes PostgreSQL's standby the primary.
func Promote(ctx context.Context) error { return script(ctx, "promote") }

// Repair makes the stack, or the cluster, whole again.
func Repair(ctx context.Context) error {
	if clustered() {
		return script(ctx, "up")
	}
	for _, s := range []Server{RabbitMQ, Redis, PostgreSQL} {
		if state, _ := s.process(); state == dead || state == frozen || state == zombie {
			return script(ctx, "up")
		}
	}
	return nil
}

func (s Server) signal(signal syscall.Signal) error {
	pid, err := s.pid()
	if err != nil {
		return err
	}
	if clustered() && signal != syscall.SIGKILL { // a machine that freezes freezes the backends of PostgreSQL, too
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			return err
		}
		for child := range strings.FieldsSeq(string(children)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				return err
			}
			if err := syscall.Kill(n, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
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
	dir := os.Getenv("CLUSTER_RUN")
	if dir == "" {
		dir = filepath.Join(root, ".stack", "run")
	}
	raw, err := os.ReadFile(filepath.Join(dir, string(s)+".pid")) //nolint:gosec // G703: the stack's own folder
	if err != nil {
		return 0, errors.Join(errors.New("the stack does not run as processes; make stack-up starts it so on Linux"), err)
	}
	return strconv.Atoi(strings.TrimSpace(string(raw)))
}

// clustered reports whether the environment is that of the cluster.
func clustered() bool { return os.Getenv("CLUSTER_RUN") != "" }

// script runs stack.sh, or cluster.sh.
func script(ctx context.Context, args ...string) error {
	root, err := repository()
	if err != nil {
		return err
	}
	name := "stack.sh"
	if clustered() {
		name = "cluster.sh"
	}
	path := filepath.Join(root, "deployments", name)
	command := exec.CommandContext(ctx, path, args...) //nolint:gosec // G204: the tests' own words
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return nil
}
