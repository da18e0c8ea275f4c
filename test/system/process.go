package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// shownLines is how much of each log a failed test shows.
const shownLines = 40

// Process is one api or consumer, or another program of the tests. It can live several times: after Kill or Terminate,
// Start begins the next life, on another port. Its methods may be called from any goroutine, but those that take a TB
// only from the test's own.
type Process struct {
	Name string // "api-1"
	Log  *Log

	path   string
	begins string // part of the line that says it has begun

	mu   sync.Mutex
	env  []string
	life *life
	url  string
	over bool // the test has ended: no further life
}

// listens begins the part of the line by which ours say where they listen.
const listens = `"address":"`

// life is one operating system process.
type life struct {
	command *exec.Cmd
	ended   chan struct{} // closed once err is set
	err     error
}

func newProcess(dir, binary, name string, env []string) *Process {
	return &Process{Name: name, Log: newLog(), path: filepath.Join(dir, binary), begins: listens, env: env}
}

// Setenv sets a variable of the environment from the next life on.
func (p *Process) Setenv(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env = append(p.env, name+"="+value) // the last one counts
}

// Start begins a life and returns when the process listens; see Ready for when it can work.
func (p *Process) Start(ctx context.Context) error {
	from := p.Log.Len()
	l, err := p.launch()
	if err != nil {
		return err
	}
	// A process that ends early says why in its log; there is nothing to wait for then.
	ctx, cancel := context.WithTimeoutCause(ctx, Patience, fmt.Errorf("%s did not begin", p.Name))
	defer cancel()
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	go func() {
		select {
		case <-l.ended:
			giveUp(fmt.Errorf("%s ended at once: %w", p.Name, errors.Join(l.err, errors.New(p.lastLine()))))
		case <-waiting.Done():
		}
	}()
	line, err := p.Log.Wait(waiting, from, p.begins)
	if err != nil || p.begins != listens {
		return err
	}
	var said struct{ Address string }
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		return fmt.Errorf("%s: reading where it listens: %w", p.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.url = "http://" + said.Address
	return nil
}

func (p *Process) launch() (*life, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil, fmt.Errorf("%s: the test is over", p.Name)
	}
	command := exec.Command(p.path, "serve") //nolint:gosec // G204: a binary we have just built
	command.Env, command.Stdout, command.Stderr = p.env, p.Log, p.Log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	p.life = &life{command: command, ended: make(chan struct{})}
	go func(l *life) {
		l.err = command.Wait()
		close(l.ended)
	}(p.life)
	return p.life, nil
}

func (p *Process) lastLine() string {
	lines := p.Log.Lines(0)
	if len(lines) == 0 {
		return "it said nothing"
	}
	return lines[len(lines)-1]
}

// URL is where the current life listens, without a trailing slash.
func (p *Process) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.url
}

// PID is the process id of the current life, or of the last one; 0 before the first.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil {
		return 0
	}
	return p.life.command.Process.Pid
}

// Ready answers nil when /ready does with 200.
func (p *Process) Ready(ctx context.Context) error {
	status, body, err := p.Get(ctx, "/ready")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s is not ready: %d %s", p.Name, status, body)
	}
	return err
}

// Get asks this very process.
func (p *Process) Get(ctx context.Context, path string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	response, err := direct.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, string(raw), err
}

// Metric answers the value of one line of /metrics, named as it stands there, labels included; 0 when it is not there.
func (p *Process) Metric(ctx context.Context, name string) (value float64, err error) {
	_, body, err := p.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, err := fmt.Sscan(rest, &value)
			return value, err
		}
	}
	return 0, nil
}

// Kill ends the process at once (SIGKILL) and waits until it is gone.
func (p *Process) Kill() error {
	l, err := p.signal(syscall.SIGKILL)
	if err == nil {
		<-l.ended
	}
	return err
}

// Stop freezes the process (SIGSTOP), Continue lets it go on.
func (p *Process) Stop() error {
	_, err := p.signal(syscall.SIGSTOP)
	return err
}

// Continue undoes Stop.
func (p *Process) Continue() error {
	_, err := p.signal(syscall.SIGCONT)
	return err
}

// Interrupt asks the process to end (SIGTERM) without waiting for it.
func (p *Process) Interrupt() error {
	_, err := p.signal(syscall.SIGTERM)
	return err
}

// Wait answers how the process ended, once it has: nil for exit code 0.
func (p *Process) Wait(ctx context.Context) error {
	p.mu.Lock()
	l := p.life
	p.mu.Unlock()
	select {
	case <-l.ended:
		return l.err
	case <-ctx.Done():
		return fmt.Errorf("%s did not end: %w", p.Name, context.Cause(ctx))
	}
}

// Terminate asks the process to end and fails tb unless it does so with exit code 0.
func (p *Process) Terminate(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	defer cancel()
	require.NoError(tb, p.Interrupt())
	require.NoError(tb, p.Wait(ctx), "%s", p.Name)
}

func (p *Process) signal(s syscall.Signal) (*life, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil {
		return nil, fmt.Errorf("%s was never started", p.Name)
	}
	if err := p.life.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("%s: %s: %w", p.Name, s, err)
	}
	return p.life, nil
}

// finish ends the process for good, and shows the end of its log when the test has failed.
func (p *Process) finish(tb testing.TB) {
	p.mu.Lock()
	p.over = true
	started := p.life != nil
	p.mu.Unlock()
	if started {
		if err := p.Kill(); err != nil {
			tb.Errorf("%v", err)
		}
	}
	if tb.Failed() {
		lines := p.Log.Lines(max(0, p.Log.Len()-shownLines))
		tb.Logf("the last %d lines of %s:\n  %s", len(lines), p.Name, strings.Join(lines, "\n  "))
	}
}

// WaitLine answers the first line the process has ever written that has all parts in it; it fails tb when none comes.
func (p *Process) WaitLine(tb testing.TB, parts ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	defer cancel()
	line, err := p.Log.Wait(ctx, 0, parts...)
	require.NoError(tb, err, "%s", p.Name)
	return line
}
