package password

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
)

// kind is an algorithm.
type kind int

const (
	argon2id kind = iota
	bcrypted
	kinds
)

// work is what is to be hashed, as far as it decides the time.
type work struct {
	kind kind
	size float64 // 1: argon2id at the costs of [current], bcrypt at that of the previous release
}

// minSize keeps what takes next to no time from being taken for the measure of all others.
const minSize = 0.1

// newHash is making an argon2id hash, and checking one of ours.
var newHash = work{argon2id, 1}

// bcryptOf is making or checking a bcrypt hash of so much cost.
func bcryptOf(cost int) work {
	return work{bcrypted, max(minSize, math.Exp2(float64(cost-previousBcryptCost)))}
}

// workOf is checking a password against hash.
func workOf(hash string) work {
	if cost, ok := bcryptCost(hash); ok {
		return bcryptOf(cost)
	}
	stored, err := parsePHC(hash)
	if err != nil {
		return newHash
	}
	size := float64(stored.params.memory) * float64(stored.params.time) / (float64(current.memory) * float64(current.time))
	return work{argon2id, max(minSize, size)}
}

// amount is how much of each kind is to be done.
type amount [kinds]float64

// gate lets a bounded number of callers in at a time. The others wait in one line per client, and the lines take turns: a
// client with many callers does not delay another's only one by more than a turn.
//
// All that wait are together no more work than is done within the gate's patience, as recent hashes have shown, and those
// of one client half of that: with another's turns in between, they are still served in time. What is too much is refused
// at once: the caller that comes or, where another client has more callers waiting, the last of those.
type gate struct {
	places   int
	patience time.Duration

	mu      sync.Mutex
	running int
	waiting int
	refused uint64               // so far
	took    [kinds]time.Duration // by work of size 1: the moving average
	backlog amount               // of all that wait
	turns   []*line              // the next first; none is empty
}

// line is a client's callers that wait, the first first.
type line struct {
	client  string
	waiters []*waiter
	backlog amount
}

// waiter is a caller that waits for a place. Whether it is let in is guarded by the gate.
type waiter struct {
	line    *line
	work    work
	told    chan struct{} // closed once it is let in or refused
	letIn   bool
	letInAt time.Time
}

func newGate(places int, patience time.Duration) *gate {
	return &gate{
		places:   places,
		patience: patience,
		// Until hashes are timed.
		took: [kinds]time.Duration{argon2id: 50 * time.Millisecond, bcrypted: 75 * time.Millisecond},
	}
}

var (
	errTooMany = errors.New("too many wait to hash a password")
	errOverdue = errors.New("waited too long to hash a password")
)

// enter returns the function that gives the place back, or ErrBusy with the cause. The client of ctx is that of
// [WithClient].
func (g *gate) enter(ctx context.Context, w work) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, gone(err)
	}
	g.mu.Lock()
	if g.running < g.places { // then nobody waits
		g.running++
		g.mu.Unlock()
		return g.leaver(w, time.Now()), nil
	}
	caller, err := g.queue(clientOf(ctx), w)
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	// The estimate may be exceeded: each client that comes gets a turn before the next of this one.
	overdue := time.NewTimer(2 * g.patience)
	defer overdue.Stop()
	select {
	case <-caller.told:
	case <-ctx.Done():
		err = gone(ctx.Err())
	case <-overdue.C:
		err = errOverdue
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case caller.letIn:
		return g.leaver(w, caller.letInAt), nil
	case err == nil: // pushed out
		return nil, g.refuse(errTooMany)
	case errors.Is(err, errOverdue):
		err = g.refuse(errOverdue)
	}
	if slices.Contains(caller.line.waiters, caller) {
		g.remove(caller)
	}
	return nil, err
}

func gone(cause error) error {
	return authentication.ErrBusy.WithCause(fmt.Errorf("waiting to hash a password: %w", cause))
}

// refuse counts a refusal, and returns it with the time that those who wait now will take.
func (g *gate) refuse(cause error) error {
	g.refused++
	return authentication.ErrBusy.WithCause(cause).WithAfter(max(time.Second, g.wait(&g.backlog)))
}

// wait returns how long so much work takes all places together.
func (g *gate) wait(a *amount) time.Duration {
	var all float64
	for k, size := range a {
		all += size * float64(g.took[k])
	}
	return time.Duration(all) / time.Duration(g.places)
}

// queue puts a caller at the end of its client's line. Whether there is room does not depend on the caller's own work: that
// would show which kind of hash an account has.
func (g *gate) queue(client string, w work) (*waiter, error) {
	i := slices.IndexFunc(g.turns, func(l *line) bool { return l.client == client })
	own := &line{client: client}
	if i >= 0 {
		own = g.turns[i]
	}
	if g.wait(&own.backlog) >= g.patience/2 {
		return nil, g.refuse(errTooMany)
	}
	for g.wait(&g.backlog) >= g.patience {
		longest := g.longest()
		if len(longest.waiters) <= len(own.waiters)+1 {
			return nil, g.refuse(errTooMany)
		}
		g.pushOut(longest)
	}
	caller := &waiter{line: own, work: w, told: make(chan struct{})}
	own.waiters = append(own.waiters, caller)
	own.backlog[w.kind] += w.size
	if i < 0 {
		g.turns = append(g.turns, own)
	}
	g.waiting++
	g.backlog[w.kind] += w.size
	return caller, nil
}

// longest returns the line with the most callers.
func (g *gate) longest() *line {
	return slices.MaxFunc(g.turns, func(a, b *line) int { return cmp.Compare(len(a.waiters), len(b.waiters)) })
}

// pushOut refuses the last caller of a line.
func (g *gate) pushOut(l *line) {
	last := l.waiters[len(l.waiters)-1]
	g.remove(last)
	close(last.told)
}

// remove takes a caller out of its line, which must have it.
func (g *gate) remove(w *waiter) {
	l := w.line
	at := slices.Index(l.waiters, w)
	l.waiters = slices.Delete(l.waiters, at, at+1)
	l.backlog[w.work.kind] -= w.work.size
	if len(l.waiters) == 0 {
		at := slices.Index(g.turns, l)
		g.turns = slices.Delete(g.turns, at, at+1)
	}
	g.backlog[w.work.kind] -= w.work.size
	if g.waiting--; g.waiting == 0 {
		g.backlog = amount{} // fractions do not add up to nothing
	}
}

// leaver returns the function that gives a place back, which was taken at began for w.
func (g *gate) leaver(w work, began time.Time) func() {
	return func() {
		now := time.Now()
		g.mu.Lock()
		defer g.mu.Unlock()
		// A process that was stopped meanwhile has not hashed all the time.
		took := min(g.patience, time.Duration(float64(now.Sub(began))/w.size))
		g.took[w.kind] += (took - g.took[w.kind]) / 8
		g.running--
		g.letNextIn(now)
		g.trim()
	}
}

// trim refuses what cannot be served in time after all, because hashes take twice as long as they did when it came.
func (g *gate) trim() {
	for g.waiting > 0 {
		longest := g.longest()
		last := longest.waiters[len(longest.waiters)-1].work
		own, all := longest.backlog, g.backlog // without what waits for itself
		own[last.kind] -= last.size
		all[last.kind] -= last.size
		if g.wait(&own) <= g.patience && g.wait(&all) <= 2*g.patience {
			return
		}
		g.pushOut(longest)
	}
}

// letNextIn gives a free place to the first caller of the next line, whose turn comes again after all others'.
func (g *gate) letNextIn(now time.Time) {
	if len(g.turns) == 0 {
		return
	}
	next := g.turns[0]
	caller := next.waiters[0]
	g.remove(caller)
	if len(next.waiters) > 0 {
		g.turns = append(slices.Delete(g.turns, 0, 1), next)
	}
	g.running++
	caller.letIn, caller.letInAt = true, now
	close(caller.told)
}

// Load is how much a [Hasher] has to do.
type Load struct {
	Running int    // hashes
	Waiting int    // callers
	Refused uint64 // callers, since the start
}

func (g *gate) load() Load {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Load{g.running, g.waiting, g.refused}
}

type clientKey struct{}

// WithClient returns a context whose hashes are asked for by client, any text that tells clients apart. Callers without
// one are one client.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

func clientOf(ctx context.Context) string {
	client, _ := ctx.Value(clientKey{}).(string)
	return client
}
