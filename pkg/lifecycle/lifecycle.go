// Package lifecycle runs the roles of a process side by side and stops them in order.
//
// It promises that every role is asked to stop, stage by stage, that the whole stop is bounded, and that a role which
// dies takes the process down with an error. It does not restart anything, it does not wait for one role to be ready
// before it starts the next, and it does not listen to signals: whoever calls Run ends its context.
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

// lateGrace is what each stage gets when the stages before it have used up the time: enough to close a connection that
// nobody uses, short enough to be lost in the grace period of whatever stops the process.
const lateGrace = 250 * time.Millisecond

// Role is one thing a process does until it is asked to stop.
type Role struct {
	Name string
	// Run works until ctx ends, finishes what it has begun and answers nil, or ctx's error. Coming back earlier is a
	// death, whatever it answers.
	Run func(ctx context.Context) error
}

// Run starts every role of every stage and answers when all have ended.
//
// When ctx ends or a role dies, the stages are stopped in the given order: the context of the stage's roles ends, and
// the next stage follows when they have returned or the time is up. So put first what takes work in, and last what
// everybody needs. The contexts of the roles carry the values of ctx but not its end.
//
// shutdownTimeout bounds the whole stop, overrun by at most a quarter of a second per stage that had no time left. A
// role that has not returned by then is named in the error and left behind: the caller ends the process.
//
// The answer is nil when ctx ended and every role then stopped in time and without an error of its own. Otherwise it
// joins, in the order they happened, the deaths, the errors while stopping, and the roles left behind.
func Run(ctx context.Context, log zerolog.Logger, shutdownTimeout time.Duration, stages ...[]Role) error {
	p := start(ctx, log, stages)
	select {
	case <-ctx.Done():
		log.Info().Msg("asked to stop")
	case e := <-p.ends:
		p.record(e)
	}
	deadline := time.Now().Add(shutdownTimeout)
	for i := range p.stages {
		p.stop(i, deadline)
	}
	return errors.Join(p.failures...)
}

// process is what Run knows; only the goroutine of Run changes it.
type process struct {
	log      zerolog.Logger
	stages   []stage
	ends     chan end // has room for every role, so that one left behind can still end
	failures []error
}

// stage is a set of roles that are asked to stop together.
type stage struct {
	cancel  context.CancelFunc
	running map[int]string // index within the stage → name
}

// end is a role that came back; err is nil when it was asked to and did so cleanly.
type end struct {
	stage, role int
	name        string
	err         error
}

func start(ctx context.Context, log zerolog.Logger, stages [][]Role) *process {
	p := &process{log: log, ends: make(chan end, len(slices.Concat(stages...)))}
	for i, roles := range stages {
		stageCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s := stage{cancel: cancel, running: map[int]string{}}
		for j, role := range roles {
			s.running[j] = role.Name
			go run(stageCtx, log, role, func(err error) { p.ends <- end{i, j, role.Name, err} })
		}
		p.stages = append(p.stages, s)
	}
	return p
}

// run is the goroutine of one role. The deferred function also sees a goroutine ended from inside (runtime.Goexit).
func run(ctx context.Context, log zerolog.Logger, role Role, ended func(error)) {
	err := errors.New("its goroutine was ended from inside")
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
			log.Error().Str("role", role.Name).Err(err).Str("stack", string(debug.Stack())).Msg("a role panicked")
		}
		ended(verdict(role.Name, err, ctx.Err() != nil))
	}()
	err = role.Run(ctx)
}

// verdict answers nil for a role that was asked to stop and did.
func verdict(name string, err error, asked bool) error {
	switch {
	case asked && (err == nil || errors.Is(err, context.Canceled)):
		return nil
	case asked:
		return fmt.Errorf("%s did not stop cleanly: %w", name, err)
	case err == nil:
		return fmt.Errorf("%s ended without being asked to", name)
	default:
		return fmt.Errorf("%s died: %w", name, err)
	}
}

func (p *process) record(e end) {
	delete(p.stages[e.stage].running, e.role)
	if e.err != nil {
		p.fail(e.name, e.err)
	}
}

func (p *process) fail(role string, err error) {
	p.log.Error().Str("role", role).Err(err).Msg("a role failed")
	p.failures = append(p.failures, err)
}

// stop asks one stage to stop and waits for it, recording what ends elsewhere meanwhile.
func (p *process) stop(i int, deadline time.Time) {
	s := p.stages[i]
	s.cancel()
	timeout := time.NewTimer(max(time.Until(deadline), lateGrace))
	defer timeout.Stop()
	for len(s.running) > 0 {
		select {
		case e := <-p.ends:
			p.record(e)
		case <-timeout.C:
			for _, j := range slices.Sorted(maps.Keys(s.running)) {
				p.fail(s.running[j], fmt.Errorf("%s did not stop in time", s.running[j]))
			}
			return
		}
	}
}
