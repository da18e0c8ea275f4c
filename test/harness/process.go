package harness

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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// listening is part of the line in which our programs log their address.
const listening = `"address":"`

// Process is one api or consumer, or another program of the tests. After Kill or Terminate it can be started again, on
// another port. All methods may be called from any goroutine.
type Process struct {
	Name string // "api-1"
	Log  *Log

	binary  string // its name in the folder of the binaries, or an absolute path
	started string // part of the line that says it has started

	mu      sync.Mutex
	env     []string
	current *execution
	url     string
	closed  bool // cannot be started again
	// leaving is set a moment after the process has been asked to stop, as a balancer learns it.
	leaving atomic.Bool
}

// noticed is how long a balancer takes to see that a process is not ready.
const noticed = 500 * time.Millisecond

// execution is one operating system process.
type execution struct {
	command *exec.Cmd
	ended   chan struct{} // closed once err is set
	err     error
}

// Setenv sets an environment variable for the next start.
func (p *Process) Setenv(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env = append(p.env, name+"="+value) // the last one counts
}

// Use has the next start run another build of the program, an absolute path (see [Build]).
func (p *Process) Use(binary string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.binary = binary
}

// Start starts the process and returns when it listens. See [Process.Ready] for when it can work.
func (p *Process) Start(ctx context.Context) error {
	p.leaving.Store(false)
	from := len(p.Log.Lines(0))
	e, err := p.launch()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, Patience, fmt.Errorf("%s did not start", p.Name))
	defer cancel()
	waiting, abandon := context.WithCancelCause(ctx)
	defer abandon(nil)
	go func() {
		select {
		case <-e.ended:
			abandon(fmt.Errorf("%s ended at once: %w: %q", p.Name, e.err, p.Log.Lines(from)))
		case <-waiting.Done():
		}
	}()
	line, err := p.Log.Wait(waiting, from, p.started)
	if err != nil || p.started != listening {
		return err
	}
	var entry struct{ Address string }
	if err := json.Unmarshal([]byte(line), &entry); err != nil {
		return fmt.Errorf("%s: reading its address: %w", p.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.url = "http://" + entry.Address
	return nil
}

func (p *Process) launch() (*execution, error) {
	dir, err := binaries()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("%s: its system is closed", p.Name)
	}
	if p.current != nil && !p.current.over() {
		return nil, fmt.Errorf("%s runs already: nobody would end its first run", p.Name)
	}
	binary := p.binary
	if !filepath.IsAbs(binary) {
		binary = filepath.Join(dir, binary)
	}
	command := exec.Command(binary, "serve") //nolint:gosec // G204: a binary we have just built
	command.Env = p.env
	command.Stdout = p.Log
	command.Stderr = p.Log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	e := &execution{command: command, ended: make(chan struct{})}
	p.current = e
	go func() {
		e.err = command.Wait()
		close(e.ended)
	}()
	return e, nil
}

// URL is where the process listens, without a trailing slash.
func (p *Process) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.url
}

// Ready returns nil when /ready returns 200.
func (p *Process) Ready(ctx context.Context) error {
	status, body, err := p.Get(ctx, "/ready")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s is not ready: %d %s", p.Name, status, body)
	}
	return err
}

// WaitReady waits until Ready returns nil.
func (p *Process) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	return Eventually(ctx, func() error { return p.Ready(ctx) })
}

// Get makes a request to this very process.
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

// Metric returns the value of a line of /metrics, 0 when there is none. The name includes the labels.
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

// Env returns the environment of the next start.
func (p *Process) Env() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.env)
}

// Running reports whether the process has been started and has not ended.
func (p *Process) Running() bool {
	e, err := p.execution()
	return err == nil && !e.over()
}

func (e *execution) over() bool {
	select {
	case <-e.ended:
		return true
	default:
		return false
	}
}

// Memory returns how much of the process is resident now, and was at most so far, in bytes. It reads /proc, so it
// needs Linux.
func (p *Process) Memory() (now, peak int64, err error) {
	e, err := p.execution()
	if err != nil {
		return 0, 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.command.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &now) // most lines are others
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	return now << 10, peak << 10, nil
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (p *Process) Kill() error {
	e, err := p.signal(syscall.SIGKILL)
	if err == nil {
		<-e.ended
	}
	return err
}

// Terminate ends the process with SIGTERM. It returns the CPU time the process has used once it has ended, and an error
// unless its exit code is 0.
func (p *Process) Terminate(ctx context.Context) (cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	e, err := p.signal(syscall.SIGTERM)
	if err != nil {
		return 0, err
	}
	defer time.AfterFunc(noticed, func() { p.leaving.Store(true) }).Stop()
	select {
	case <-e.ended:
	case <-ctx.Done():
		return 0, fmt.Errorf("%s did not end: %w", p.Name, ctx.Err())
	}
	state := e.command.ProcessState
	if cpu = state.UserTime() + state.SystemTime(); e.err != nil {
		err = fmt.Errorf("%s: %w", p.Name, e.err)
	}
	return cpu, err
}

func (p *Process) signal(s syscall.Signal) (*execution, error) {
	e, err := p.execution()
	if err != nil {
		return nil, err
	}
	if err := e.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("%s: %s: %w", p.Name, s, err)
	}
	return e, nil
}

func (p *Process) execution() (*execution, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return nil, fmt.Errorf("%s was never started", p.Name)
	}
	return p.current, nil
}

// close kills the process for good.
func (p *Process) close() error {
	p.mu.Lock()
	p.closed = true
	started := p.current != nil
	p.mu.Unlock()
	if !started {
		return nil
	}
	return p.Kill()
}
