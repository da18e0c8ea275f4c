// Package lifecycle runs the roles of a process side by side and stops them in order.
//
// It promises that every role is asked to stop, stage by stage, that the whole stop is bounded, and that a role which
// exits early stops the process with an error. It restarts nothing, it does not wait for one role to be ready before it
// starts the next, and it does not listen to signals: the caller of [Run] ends its context.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// lateGrace is what a stage has left when the stages before it have used up the time: enough to close an idle
// connection, and short beside the grace period of whatever stops the process.
const lateGrace = 250 * time.Millisecond

// Role is one thing a process does until it is asked to stop.
type Role struct {
	Name string
	// Run works until ctx ends, finishes what it has begun and returns nil or ctx's error. When it returns earlier, the
	// role has exited early, whatever it returns.
	Run func(ctx context.Context) error
}

// Run starts every role of every stage and returns when all have ended.
//
// When ctx ends or a role exits early, the stages are stopped in the given order: the contexts of a stage's roles end,
// and the next stage follows when they have returned or the time is up. Put first what lets work in, and last what
// everything needs. The contexts of the roles carry the values of ctx but not its end.
//
// shutdownTimeout bounds the whole stop, overrun by at most a quarter of a second per stage that had no time left. A
// role that has not returned by then is named in the error and left behind: the caller ends the process.
//
// Run returns nil when ctx ended and every role then stopped in time and without an error of its own. Otherwise it
// joins, in the order they happened, the early exits, the errors while stopping, and the roles left behind.
func Run(ctx context.Context, log zerolog.Logger, shutdownTimeout time.Duration, stages ...[]Role) error {
	p := start(ctx, log, stages)
	select {
	case <-ctx.Done():
		log.Info().Msg("stopping")
	case e := <-p.exits:
		p.record(e)
	}
	deadline := time.Now().Add(shutdownTimeout)
	for _, s := range p.stages {
		p.stop(s, deadline)
	}
	log.Info().Int("failures", len(p.failures)).Msg("stopped")
	return errors.Join(p.failures...)
}

// process is the state of Run; only the goroutine of Run changes it.
type process struct {
	log      zerolog.Logger
	stages   []stage
	exits    chan exit // has room for every role, so that one left behind can still end
	failures []error
}

// stage is a set of roles that are asked to stop together.
type stage struct {
	cancel  context.CancelFunc
	running map[int]string // index within the stage → name
}

// exit is a role that returned; err is nil when it was asked to and did so cleanly.
type exit struct {
	stage stage
	role  int
	err   error
}

func start(ctx context.Context, log zerolog.Logger, stages [][]Role) *process {
	p := &process{log: log, exits: make(chan exit, len(slices.Concat(stages...)))}
	for _, roles := range stages {
		stageCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s := stage{cancel: cancel, running: map[int]string{}}
		for i, role := range roles {
			s.running[i] = role.Name
			go run(stageCtx, log, role, func(err error) { p.exits <- exit{s, i, err} })
		}
		p.stages = append(p.stages, s)
	}
	return p
}

// run is the goroutine of one role. The deferred function also sees a goroutine that ended by runtime.Goexit.
func run(ctx context.Context, log zerolog.Logger, role Role, exited func(error)) {
	err := errors.New("its goroutine ended by runtime.Goexit")
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
			log.Error().Str("role", role.Name).Err(err).Str("stack", string(debug.Stack())).Msg("role panicked")
		}
		exited(explain(role.Name, err, ctx.Err() != nil))
	}()
	err = role.Run(ctx)
}

// explain returns nil for a role that was asked to stop and did.
func explain(name string, err error, asked bool) error {
	switch {
	case asked && (err == nil || errors.Is(err, context.Canceled)):
		return nil
	case asked:
		return fmt.Errorf("%s did not stop cleanly: %w", name, err)
	case err == nil:
		return fmt.Errorf("%s exited early", name)
	default:
		return fmt.Errorf("%s failed: %w", name, err)
	}
}

func (p *process) record(e exit) {
	name := e.stage.running[e.role]
	delete(e.stage.running, e.role)
	if e.err != nil {
		p.fail(name, e.err)
	}
}

func (p *process) fail(role string, err error) {
	p.log.Error().Str("role", role).Err(err).Msg("role failed")
	p.failures = append(p.failures, err)
}

// stop asks one stage to stop and waits for it. It also records what ends elsewhere meanwhile.
func (p *process) stop(s stage, deadline time.Time) {
	s.cancel()
	timeout := time.After(max(time.Until(deadline), lateGrace))
	for len(s.running) > 0 {
		select {
		case e := <-p.exits:
			p.record(e)
		case <-timeout:
			for _, i := range slices.Sorted(maps.Keys(s.running)) {
				p.fail(s.running[i], fmt.Errorf("%s did not stop in time", s.running[i]))
			}
			return
		}
	}
}
