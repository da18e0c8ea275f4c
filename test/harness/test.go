package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
)

// shownLines is how much of each log a failed test shows.
const shownLines = 40

// TestSystem is a [System] that ends with its test. Its methods fail the test where those of a System return an error,
// so only the test's own goroutine may call them.
type TestSystem struct {
	*System
	tb testing.TB
}

// New starts a TestSystem and returns it once every process is ready. A failed test shows the end of the logs.
func New(tb testing.TB, o Options) *TestSystem {
	tb.Helper()
	s, err := Start(tb.Context(), o)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		err := s.Close()
		for _, p := range s.processes {
			if lines := p.Log.Lines(0); tb.Failed() {
				lines = lines[max(0, len(lines)-shownLines):]
				tb.Logf("the last %d lines of %s:\n  %s", len(lines), p.Name, strings.Join(lines, "\n  "))
			}
		}
		require.NoError(tb, err)
	})
	return &TestSystem{System: s, tb: tb}
}

// NewProgram adds a program of the test tree with env over its environment ("NAME=value"). It builds it from its folder
// ("./test/migration/publisher") but does not start it. The program has started once it has written a line that
// contains started; empty means that it logs its address, as ours do. It is not one of Processes.
func (s *TestSystem) NewProgram(source, name, started string, env ...string) *Process {
	s.tb.Helper()
	dir, err := binaries()
	require.NoError(s.tb, err)
	binary := filepath.Base(source)
	if _, err := os.Stat(filepath.Join(dir, binary)); err != nil {
		require.NoError(s.tb, build(dir, source))
	}
	p := s.newProcess(binary, name, env)
	if started != "" {
		p.started = started
	}
	return p
}

// Ready waits until p is ready.
func (s *TestSystem) Ready(p *Process) {
	s.tb.Helper()
	require.NoError(s.tb, p.WaitReady(s.tb.Context()))
}

// StartReady starts processes at once and waits until they are ready. As with [System.StartAll], other Systems start before or
// after that.
func (s *TestSystem) StartReady(processes ...*Process) {
	s.tb.Helper()
	require.NoError(s.tb, s.startReady(s.tb.Context(), processes...))
}

// Terminate ends p with SIGTERM; its exit code must be 0.
func (s *TestSystem) Terminate(p *Process) {
	s.tb.Helper()
	_, err := p.Terminate(s.tb.Context())
	require.NoError(s.tb, err)
}

// WaitLine returns the first line p has ever written that contains all texts.
func (s *TestSystem) WaitLine(p *Process, texts ...string) string {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), Patience)
	defer cancel()
	line, err := p.Log.Wait(ctx, 0, texts...)
	require.NoError(s.tb, err, "%s", p.Name)
	return line
}

// Command is [System.Command].
func (s *TestSystem) Command(env []string, binary string, args ...string) Output {
	s.tb.Helper()
	out, err := s.System.Command(s.tb.Context(), env, binary, args...)
	require.NoError(s.tb, err, "%s %q\n%s", binary, args, out.Stderr)
	return out
}

// WaitReached is [Mailbox.WaitReached].
func (s *TestSystem) WaitReached(verb smtptest.Verb, n int) {
	s.tb.Helper()
	require.NoError(s.tb, s.Mailbox.WaitReached(s.tb.Context(), verb, n))
}

// OnBroker is [System.OnBroker].
func (s *TestSystem) OnBroker(fn func(ch *amqp.Channel) error) {
	s.tb.Helper()
	require.NoError(s.tb, s.System.OnBroker(s.tb.Context(), fn))
}

// Publish is [System.Publish].
func (s *TestSystem) Publish(exchange, key string, messages ...amqp.Publishing) {
	s.tb.Helper()
	require.NoError(s.tb, s.System.Publish(s.tb.Context(), exchange, key, messages...))
}

// QueueLength is [System.QueueLength].
func (s *TestSystem) QueueLength(queue string) int {
	s.tb.Helper()
	n, err := s.System.QueueLength(s.tb.Context(), queue)
	require.NoError(s.tb, err)
	return n
}

// Count is [System.Count].
func (s *TestSystem) Count(query string, args ...any) int {
	s.tb.Helper()
	n, err := s.System.Count(s.tb.Context(), query, args...)
	require.NoError(s.tb, err, "%s", query)
	return n
}

// OutboxEmpty waits until everything in the outbox has been published.
func (s *TestSystem) OutboxEmpty() {
	s.tb.Helper()
	Soon(s.tb, func() error {
		n, err := s.System.Count(s.tb.Context(), "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM legacy_mails)")
		if err != nil || n == 0 {
			return err
		}
		return fmt.Errorf("the outbox has %d rows", n)
	})
}

// Inject injects a fault into a server of the stack, which is whole again after the test:
//
//	harness.Inject(t, harness.RabbitMQ.Kill)
func Inject(tb testing.TB, fault func(context.Context) error) {
	tb.Helper()
	tb.Cleanup(func() { require.NoError(tb, Repair(context.WithoutCancel(tb.Context()))) })
	ctx, cancel := context.WithTimeout(tb.Context(), 2*Patience) // stopping takes half a minute at most, starting two
	defer cancel()
	require.NoError(tb, fault(ctx))
}
