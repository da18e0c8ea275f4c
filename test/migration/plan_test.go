//go:build e2e

package migration

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/smap-platform/identity/internal/legacy"
)

// walk is one way through the phases.
type walk struct {
	name   string // forward, back
	phases []legacy.Phase
	old    int // consumers of the previous release
	kills  []role
	rate   int // registrations per second, of both publishers together
	// consumersFirst is whether the consumers are changed before the publishers in the first step; then they take
	// turns.
	consumersFirst bool
}

// role is something a walk can kill.
type role string

const (
	publisher   role = "publisher"
	consumer    role = "consumer"
	oldConsumer role = "old consumer"
	broker      role = "broker"
)

// pair is how many processes of each role there are.
const pair = 2

// change is one process that is stopped in order and started in another phase.
type change struct {
	role   role
	number int
	phase  legacy.Phase
}

func (c change) String() string { return fmt.Sprintf("%s %d to %s", c.role, c.number+1, c.phase) }

func (w walk) String() string {
	return fmt.Sprintf("%s, %s, %s", w.name, w.company(), w.losses())
}

func (w walk) company() string {
	switch w.old {
	case 0:
		return "none of the old"
	case 1:
		return "one old consumer"
	}
	return fmt.Sprintf("%d old consumers", w.old)
}

func (w walk) losses() string {
	if len(w.kills) == 0 {
		return "no kills"
	}
	return fmt.Sprintf("%d kills", len(w.kills))
}

// changes is every change of the walk, in order: one process at a time.
func (w walk) changes() (all []change) {
	for i, phase := range w.phases[1:] {
		order := []role{consumer, publisher}
		if w.consumersFirst != (i%2 == 0) {
			slices.Reverse(order)
		}
		for _, r := range order {
			for number := range pair {
				all = append(all, change{r, number, phase})
			}
		}
	}
	return all
}

// schedule chooses after which change each role is killed, never two after the same. A consumer of the previous release
// dies while it has mails to send, so before the broker: it is idle for ever after that.
func (w walk) schedule(random *rand.Rand) map[int]role {
	after := map[int]role{}
	first := 0
	if slices.Contains(w.kills, oldConsumer) {
		flowing := w.flowing()
		i := flowing[random.IntN(len(flowing)-1)] // not the last: the broker comes later
		after[i] = oldConsumer
		first = i + 1
	}
	changes := len(w.changes())
	for _, r := range []role{broker, publisher, consumer} {
		if !slices.Contains(w.kills, r) {
			continue
		}
		i := first + random.IntN(changes-first)
		for after[i] != "" {
			i = random.IntN(changes)
		}
		after[i], first = r, 0
	}
	return after
}

// flowing is the changes after which a publisher commits fanout copies.
func (w walk) flowing() (after []int) {
	phases := [pair]legacy.Phase{w.phases[0], w.phases[0]}
	for i, c := range w.changes() {
		if c.role == publisher {
			phases[c.number] = c.phase
		}
		if slices.ContainsFunc(phases[:], legacy.Phase.Fanout) {
			after = append(after, i)
		}
	}
	return after
}
