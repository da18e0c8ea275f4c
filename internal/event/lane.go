package event

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Probing is how a paused [Lane] tries whether it may open.
type Probing struct {
	First time.Duration // the wait before the first probe; each further one doubles
	Last  time.Duration // the longest of these waits
	Hold  time.Duration // how long one message may probe; then the next one does
	Idle  time.Duration // a queue empty for this long opens its lane: nothing is owed any more
}

// DefaultProbing finds a server that has returned within 5 s, the probe itself included. Hold bounds how long a mail
// that the server would refuse anyway keeps the lane from opening, and how many such mails a killed process has in
// hand.
var DefaultProbing = Probing{First: time.Second, Last: 4 * time.Second, Hold: 10 * time.Second, Idle: time.Minute}

// LaneState is a lane as health, metrics and logs show it.
type LaneState struct {
	Queue  string        `json:"queue"`
	Paused bool          `json:"paused"`                       // by a refusal
	Since  time.Time     `json:"since,omitzero"`               // of the pause
	Class  string        `json:"class,omitempty"`              // of the last refusal
	Next   time.Time     `json:"next_probe,omitzero"`          // when the next probe is due
	Lasted time.Duration `json:"-"`                            // of a lane that has just opened: how long its pause was
	Halt   *Halt         `json:"paused_by_operator,omitempty"` // nil: no person has paused it
}

// Halt is the pause of a lane that a person has asked for. It ends when a person says so, and is apart from the pause that
// a refusal begins: a lane can have both.
type Halt struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

// Lane is the work of one process on one queue whose handlers need a server that may refuse the service as a whole. The
// first [Blocked] pauses it. A paused lane takes nothing from its queue but one message at a time, the probe, whose
// handler runs again and again. The first handler that returns nil opens the lane. A lane that a person has halted takes
// nothing at all, no probe either. A nil *Lane never pauses.
//
// A probe that fails for its own sake goes its ordinary way, and the next message probes. So does one that is dropped
// or dead-lettered: neither says that the server accepts anything.
type Lane struct {
	queue   string
	probing Probing
	now     func() time.Time
	changed func(LaneState)

	mu      sync.Mutex
	state   LaneState
	shut    time.Time     // since when it is paused or halted
	paused  chan struct{} // closed by the pause or halt, new once it is neither
	wake    chan struct{} // closed and renewed when those that wait in Await have to look again
	claimed bool          // a message probes, or is being looked for
	wait    time.Duration // before the next probe
	due     time.Time     // the next probe, by the local clock
	empty   time.Time     // since when the queue has had no message to probe with
	opened  int           // how often it has opened
	pauses  []pause       // ended ones, halts among them, oldest first
}

type pause struct{ from, to time.Time }

var errPaused = &blockedError{
	err:  errors.New("event: the lane is paused; the message goes back to its queue"),
	then: giveBack,
}

// remembered is how long a lane remembers its pauses: longer than any message's [Policy.GiveUpAfter].
const remembered = 24 * time.Hour

// NewLane returns an open lane. changed is called when it pauses and when it opens, must not call the lane, and may be
// nil.
func NewLane(queue string, p Probing, now func() time.Time, changed func(LaneState)) *Lane {
	if changed == nil {
		changed = func(LaneState) {}
	}
	return &Lane{
		queue:   queue,
		probing: p,
		now:     now,
		changed: changed,
		state:   LaneState{Queue: queue},
		paused:  make(chan struct{}),
		wake:    make(chan struct{}),
	}
}

// State returns the lane's state.
func (l *Lane) State() LaneState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Paused returns a channel that the next pause or halt closes; it is closed already while the lane is paused or halted.
func (l *Lane) Paused() <-chan struct{} {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused
}

// IsPaused reports whether the lane is paused or halted.
func (l *Lane) IsPaused() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isShut()
}

// isShut reports whether the lane is paused or halted. l.mu is held.
func (l *Lane) isShut() bool { return l.state.Paused || l.state.Halt != nil }

// Halt takes the lane out of use until Resume, and reports whether that is new. What is being handled ends as it would
// have. A message that probes, or that was taken and not begun, goes back to its queue.
func (l *Lane) Halt(h Halt) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Halt != nil && *l.state.Halt == h {
		return false
	}
	l.close(h.Since)
	l.state.Halt = &h
	l.rouse()
	return true
}

// Resume ends a halt, and reports whether there was one. A lane that is paused as well goes on probing.
func (l *Lane) Resume() (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Halt == nil {
		return false
	}
	l.state.Halt = nil
	l.reopen()
	l.rouse()
	return true
}

// close notes that the lane is shut from then on, for one more reason or the first. l.mu is held.
func (l *Lane) close(then time.Time) {
	if l.isShut() {
		if then.Before(l.shut) {
			l.shut = then
		}
		return
	}
	if n := len(l.pauses); n > 0 && then.Before(l.pauses[n-1].to) {
		then = l.pauses[n-1].to
	}
	l.shut = then
	close(l.paused)
}

// reopen notes that one reason less shuts the lane, and remembers the time it was shut for if it was the last. l.mu is
// held.
func (l *Lane) reopen() {
	if l.isShut() {
		return
	}
	now := l.now()
	l.pauses = append(l.pauses, pause{l.shut, now})
	for now.Sub(l.pauses[0].to) > remembered {
		l.pauses = l.pauses[1:]
	}
	l.paused = make(chan struct{})
}

// Await returns once the lane is open, with probe false, or once the caller has to take one message and pass it to
// Handle as the probe. A caller that finds no message calls Missed. Await returns false as well when ctx ends.
func (l *Lane) Await(ctx context.Context) (probe bool) {
	if l == nil {
		return false
	}
	for ctx.Err() == nil {
		open, claimed, wait, wake := l.look()
		if open || claimed {
			return claimed
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-wait:
		}
	}
	return false
}

// look claims the probe when one is due and returns what to wait for when there is nothing to do.
func (l *Lane) look() (open, claimed bool, wait <-chan time.Time, wake <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch left := time.Until(l.due); {
	case l.state.Halt != nil:
	case !l.state.Paused:
		return true, false, nil, nil
	case l.claimed:
	case left <= 0:
		l.claimed = true
		return false, true, nil, nil
	default:
		wait = time.After(left)
	}
	return false, false, wait, l.wake
}

// Missed gives a claimed probe back: there is no message to probe with. A lane whose queue stays empty opens.
func (l *Lane) Missed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.empty.IsZero() {
		l.empty = time.Now()
	}
	if time.Since(l.empty) >= l.probing.Idle {
		l.open()
		return
	}
	l.release(l.probing.First)
}

// Release gives a claimed probe back that was not begun.
func (l *Lane) Release() {
	if l != nil {
		l.releaseFor(0)
	}
}

func (l *Lane) releaseFor(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(wait)
}

// Handle runs next for d and returns a result that [Decide] acts on. When it is [Blocked], d probes: next runs again
// after each wait, until it returns something else. wait reports whether d is still ours after that time; when it is
// not, or when another message probes, d is given back. probe says that d was taken after Await had returned true.
func (l *Lane) Handle(ctx context.Context, d Delivery, probe bool, next Handler, wait func(time.Duration) bool) error {
	if l == nil {
		return next(ctx, d)
	}
	for started := time.Now(); ; {
		if l.holdsBack(probe) {
			return errPaused
		}
		opened := l.begin(&d)
		err := next(ctx, d)
		refusal, blocked := errors.AsType[*blockedError](err)
		if !blocked {
			l.end(probe, err)
			return err
		}
		pause, role := l.block(refusal, probe, opened)
		switch role {
		case outdated:
			continue
		case bystander:
			return &blockedError{err: refusal, then: giveBack}
		}
		probe = true
		// A message that was handed out often is not held: each process killed meanwhile hands it out once more.
		if d.HandedOut >= maxGiveBacks || time.Since(started) >= l.probing.Hold {
			l.releaseFor(pause)
			return &blockedError{err: refusal, then: moveAway}
		}
		if !wait(pause) {
			l.Release()
			return &blockedError{err: refusal, then: giveBack}
		}
	}
}

// holdsBack reports whether no handler may begin. A probe is given back then.
func (l *Lane) holdsBack(probe bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Halt == nil {
		return l.state.Paused && !probe
	}
	if probe {
		l.release(0)
	}
	return true
}

// begin records in d how long the lane has been paused since d first failed. It returns how often the lane has opened.
func (l *Lane) begin(d *Delivery) (opened int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.PausedFor = l.pausedSince(d.FirstFailed())
	return l.opened
}

// role is what a blocked message is in its lane.
type role int

const (
	prober    role = iota // it probes: its handler runs again after a pause
	bystander             // another message probes
	outdated              // the refusal is older than the last opening: its handler runs again at once
)

// block pauses the lane, unless the refusal is outdated. opened is what begin returned before the try.
func (l *Lane) block(refusal *blockedError, probe bool, opened int) (pause time.Duration, r role) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.state.Paused && !probe:
		return 0, bystander
	case !l.state.Paused && opened != l.opened:
		return 0, outdated
	}
	l.wait = min(max(2*l.wait, l.probing.First), l.probing.Last)
	pause = max(l.wait, refusal.wait)
	l.claimed = true
	l.empty = time.Time{}
	l.state.Class = ErrorClass(refusal)
	l.state.Next = l.now().Add(pause)
	if !l.state.Paused {
		since := l.now()
		l.close(since)
		l.state.Paused, l.state.Since = true, since
		l.changed(l.state)
	}
	return pause, prober
}

// end notes the result of a message that is not blocked. Only a probe's counts: any other was begun before the pause.
func (l *Lane) end(probe bool, err error) {
	if !probe {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, gone := endOf(err)
	switch {
	case err == nil:
		l.open()
	case gone: // dropped or dead, whatever the server thinks of us: the next message is tried at once
		l.release(0)
	default:
		l.release(max(l.wait, l.probing.First))
	}
}

// release gives the probe to the next caller of Await, due after wait. l.mu is held.
func (l *Lane) release(wait time.Duration) {
	l.claimed = false
	l.due = time.Now().Add(wait)
	l.state.Next = l.now().Add(wait)
	l.rouse()
}

// open ends the pause; a halt stays. l.mu is held.
func (l *Lane) open() {
	ended := LaneState{Queue: l.queue, Lasted: l.now().Sub(l.state.Since), Halt: l.state.Halt}
	l.state = LaneState{Queue: l.queue, Halt: l.state.Halt}
	l.claimed, l.wait, l.empty = false, 0, time.Time{}
	l.opened++
	l.reopen()
	l.rouse()
	l.changed(ended)
}

func (l *Lane) rouse() {
	close(l.wake)
	l.wake = make(chan struct{})
}

// pausedSince returns how long the lane has been paused or halted since first; zero when first is. l.mu is held.
func (l *Lane) pausedSince(first time.Time) (total time.Duration) {
	if first.IsZero() {
		return 0
	}
	for _, p := range l.pauses {
		total += p.since(first)
	}
	if l.isShut() {
		total += pause{l.shut, l.now()}.since(first)
	}
	return total
}

// since returns how much of the pause lies after first.
func (p pause) since(first time.Time) time.Duration {
	if p.from.After(first) {
		first = p.from
	}
	return max(0, p.to.Sub(first))
}
