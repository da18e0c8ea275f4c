// Package console keeps what a standalone shows on its page: the path of every event, from the outbox row to what its
// handler did. It is in no other program.
//
// It keeps names, ids and times only: of no event the body, of no mail the text, and no code or token. What does not fit
// pushes out the oldest.
package console

import (
	"slices"
	"sync"
	"time"
)

// Stage is a station on the path of an event.
type Stage string

// The stages, in the order of the path.
const (
	Outbox   Stage = "outbox"   // its row was committed
	Exchange Stage = "exchange" // the broker took it
	Queue    Stage = "queue"    // a queue holds it, retry levels and dead queues included
	Handler  Stage = "handler"  // a handler works on it
	Effect   Stage = "effect"   // the handler has sent a mail, or written to Redis or the database
)

const (
	keptPaths = 200
	// keptSteps are those of one path: enough for two queues with all their retries.
	keptSteps = 64
	// longest bounds what a stranger has written, as an id may be.
	longest = 120
)

// Fact is an event as it may be shown.
type Fact struct {
	ID, Key string
	Trace   string // the trace id of what caused it; empty: none
}

// Step is one thing that happened to an event.
type Step struct {
	Stage Stage
	// Where is the queue, the handler's queue, or what was written.
	Where   string
	At      time.Time
	Outcome string        // of a handler; empty while it works
	Took    time.Duration // of a handler that has ended
	Failed  bool          // the handler has not done its work
	Times   int           // how often it happened, one after the other
}

// Path is an event with its steps, oldest first.
type Path struct {
	Fact
	Number uint64 // of all paths: what an id of markup can be made of
	Begun  time.Time
	Steps  []Step
	More   int // steps that were not kept

	changed uint64 // the number of its last change
}

// At returns the path's steps of one stage.
func (p Path) At(s Stage) []Step {
	return slices.DeleteFunc(slices.Clone(p.Steps), func(step Step) bool { return step.Stage != s })
}

// Recorder keeps the newest paths. It is safe for concurrent use. A nil Recorder records nothing.
type Recorder struct {
	now func() time.Time

	mu      sync.Mutex
	paths   []*Path // oldest first
	begun   uint64
	changes uint64
	changed chan struct{} // closed by the next change
}

// NewRecorder returns a recorder that takes the time from now.
func NewRecorder(now func() time.Time) *Recorder {
	return &Recorder{now: now, changed: make(chan struct{})}
}

// Record adds a step to the path of an event, which begins with it where there is none. The same step again, with nothing
// between, is counted.
func (r *Recorder) Record(f Fact, stage Stage, where string) {
	if r == nil || f.ID == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.path(f)
	r.add(p, Step{Stage: stage, Where: shortened(where), At: r.now(), Times: 1})
}

// Begin records that a handler begins to work. end records how that went.
func (r *Recorder) Begin(f Fact, where string) (end func(outcome string, failed bool, took time.Duration)) {
	r.Record(f, Handler, where)
	return func(outcome string, failed bool, took time.Duration) {
		if r == nil || f.ID == "" {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		p := r.path(f)
		for i := range slices.Backward(p.Steps) {
			if s := &p.Steps[i]; s.Stage == Handler && s.Where == shortened(where) && s.Outcome == "" {
				s.Outcome, s.Failed, s.Took = shortened(outcome), failed, took
				break
			}
		}
		r.touch(p)
	}
}

// Since returns copies of the paths that have changed after the change with this number, oldest first, the number of the
// newest change, and a channel that is closed by the next one.
func (r *Recorder) Since(change uint64) (paths []Path, newest uint64, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.paths {
		if p.changed > change {
			c := *p
			c.Steps = slices.Clone(p.Steps)
			paths = append(paths, c)
		}
	}
	return paths, r.changes, r.changed
}

// path returns the path of f, and begins one where there is none.
func (r *Recorder) path(f Fact) *Path {
	f.ID, f.Key, f.Trace = shortened(f.ID), shortened(f.Key), shortened(f.Trace)
	for _, p := range slices.Backward(r.paths) {
		if p.ID == f.ID {
			if p.Trace == "" {
				p.Trace = f.Trace
			}
			return p
		}
	}
	r.begun++
	p := &Path{Fact: f, Number: r.begun, Begun: r.now()}
	r.paths = append(r.paths, p)
	if over := len(r.paths) - keptPaths; over > 0 {
		r.paths = slices.Delete(r.paths, 0, over)
	}
	return p
}

func (r *Recorder) add(p *Path, s Step) {
	last := len(p.Steps) - 1
	switch {
	case last >= 0 && s.Stage == Effect && p.Steps[last].Stage == Effect && p.Steps[last].Where == s.Where:
		p.Steps[last].Times++
	case len(p.Steps) >= keptSteps:
		p.More++
	default:
		p.Steps = append(p.Steps, s)
	}
	r.touch(p)
}

// touch numbers the change of a path; the caller holds mu.
func (r *Recorder) touch(p *Path) {
	r.changes++
	p.changed = r.changes
	close(r.changed)
	r.changed = make(chan struct{})
}

// shortened returns text as far as it is shown.
func shortened(text string) string {
	if len(text) <= longest {
		return text
	}
	runes := []rune(text)
	return string(runes[:min(len(runes), longest)]) + "…"
}
