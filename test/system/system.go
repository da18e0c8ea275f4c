package system

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// Options of a System.
type Options struct {
	APIs, Consumers int               // processes to start; 0 starts none
	Env             map[string]string // over what the processes get otherwise
}

// System is one installation of the service, with its own database, virtual host and mail server.
type System struct {
	APIs      []*Process
	Consumers []*Process
	DB        *sql.DB       // the test's own view of the database
	Redis     *redis.Client // on the state database
	Mailbox   *Mailbox
	BrokerURL string // of the virtual host

	tb  testing.TB
	dir string // of the binaries
	env map[string]string
}

// Start starts a System and returns once every process is ready. Processes end with the test; those of a failed test
// show the end of their logs.
func Start(tb testing.TB, o Options) *System {
	tb.Helper()
	dir, err := binaries()
	require.NoError(tb, err)
	s := &System{tb: tb, dir: dir, BrokerURL: newVirtualHost(tb), Mailbox: newMailbox(tb)}
	database, db := newDatabase(tb)
	s.DB, s.Redis = db, newState(tb)
	host, port, err := net.SplitHostPort(s.Mailbox.Addr())
	require.NoError(tb, err)
	s.env = map[string]string{
		"HOST": "127.0.0.1", "APP_PORT": "0", "CONSUMER_PORT": "0", "LOGGER_FORMAT": "json", "LOGGER_LEVEL": "info",
		"POSTGRES_DB": database, "RABBITMQ_URL": s.BrokerURL, "REDIS_STATE_DB": strconv.Itoa(s.Redis.Options().DB),
		// A mail that nobody finished is free again after twice this time; tests should not wait a minute for that.
		"SMTP_HOST": host, "SMTP_PORT": port, "SMTP_TLS": "none", "SMTP_TIMEOUT": "3s",
		"SMTP_USERNAME": "", "SMTP_PASSWORD": "",
	}
	maps.Copy(s.env, o.Env)
	for range o.APIs {
		s.NewAPI()
	}
	for range o.Consumers {
		s.NewConsumer()
	}
	s.startAll()
	return s
}

func (s *System) startAll() {
	s.tb.Helper()
	all := s.Processes()
	var group errgroup.Group
	for _, p := range all {
		group.Go(func() error { return p.Start(s.tb.Context()) })
	}
	require.NoError(s.tb, group.Wait())
	for _, p := range all {
		s.Ready(p)
	}
}

// Ready waits until p is ready, and fails the test when it does not get there.
func (s *System) Ready(p *Process) {
	s.tb.Helper()
	Soon(s.tb, func() error { return p.Ready(s.tb.Context()) })
}

// NewAPI adds an api, NewConsumer a consumer, with env over its environment ("NAME=value"); neither starts it.
func (s *System) NewAPI(env ...string) *Process {
	p := s.newProcess(API, len(s.APIs)+1, env)
	s.APIs = append(s.APIs, p)
	return p
}

// NewConsumer see NewAPI.
func (s *System) NewConsumer(env ...string) *Process {
	p := s.newProcess(Consumer, len(s.Consumers)+1, env)
	s.Consumers = append(s.Consumers, p)
	return p
}

func (s *System) newProcess(binary string, number int, env []string) *Process {
	return s.process(binary, binary+"-"+strconv.Itoa(number), env)
}

func (s *System) process(binary, name string, env []string) *Process {
	p := newProcess(s.dir, binary, name, append(s.environment(), env...))
	s.tb.Cleanup(func() { p.finish(s.tb) })
	return p
}

// NewProgram adds a program of the test tree, built from the folder source ("./test/walk/publisher"), with env over its
// environment; it does not start it. Start returns when a line with begins in it has been written; empty means when the
// program says where it listens, as ours do. It is not one of Processes.
func (s *System) NewProgram(source, name, begins string, env ...string) *Process {
	s.tb.Helper()
	binary, err := program(s.dir, source)
	require.NoError(s.tb, err)
	p := s.process(binary, name, env)
	p.begins = cmp.Or(begins, listens)
	return p
}

// Processes answers all apis and consumers.
func (s *System) Processes() []*Process {
	return append(append([]*Process{}, s.APIs...), s.Consumers...)
}

// environment is that of the stack with ours over it.
func (s *System) environment() []string {
	var env []string
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); s.env[name] == "" {
			env = append(env, pair)
		}
	}
	for name, value := range s.env {
		env = append(env, name+"="+value)
	}
	return env
}

func (s *System) virtualHost() string { return s.BrokerURL[strings.LastIndexByte(s.BrokerURL, '/')+1:] }

// Output is what a command has said, and its exit code.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Command runs a binary to its end in the system's environment, with env over it ("NAME=value").
func (s *System) Command(env []string, binary string, args ...string) Output {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), Patience)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(s.dir, binary), args...) //nolint:gosec // G204: a binary we have just built
	command.Env = append(s.environment(), env...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	require.NoError(s.tb, ctx.Err(), "%s %q did not end\n%s", binary, args, stderr.String())
	if _, exited := errors.AsType[*exec.ExitError](err); !exited {
		require.NoError(s.tb, err)
	}
	return Output{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// StateKey is the hash of a user's subscription in Redis (WIRE.md A3), spelled as a neighbour would.
func StateKey(userID string) string { return "smap:sub:" + userID }

// Count answers the single number a query yields.
func (s *System) Count(query string, args ...any) int {
	s.tb.Helper()
	var n int
	require.NoError(s.tb, s.DB.QueryRowContext(s.tb.Context(), query, args...).Scan(&n), "%s", query)
	return n
}

// OutboxEmpty waits until everything that was put into the outbox has left.
func (s *System) OutboxEmpty() {
	s.tb.Helper()
	Soon(s.tb, func() error {
		var n int
		if err := s.DB.QueryRowContext(s.tb.Context(), "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM legacy_mails)").Scan(&n); err != nil || n == 0 {
			return err
		}
		return fmt.Errorf("the outbox has %d rows", n)
	})
}
