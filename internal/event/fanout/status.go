package fanout

import (
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// Recently is how long a process that has written fanout copies is remembered against a step that ends them: its last
// rows may still be under way.
const Recently = 5 * time.Minute

// Roles that matter here, as heartbeats have them.
const (
	roleAPI      = "api"
	roleConsumer = "consumer"
)

// emailKeys is what our queue for mails is bound to the topic exchange with.
const emailKeys = "email.#"

// Facts is everything a step is judged by. What could not be found out is nil in the states of the broker, and said
// with its reason in Unknown.
type Facts struct {
	At        time.Time           `json:"at"`
	Topic     event.ExchangeState `json:"topic_exchange"`
	Fanout    event.ExchangeState `json:"fanout_exchange"`
	Old       event.QueueState    `json:"fanout_queue"`
	Email     Ladder              `json:"email"`          // where topic copies go
	Legacy    Ladder              `json:"legacy"`         // where our consumers put what the old queue gave them and they could not send
	Others    []event.QueueState  `json:"others"`         // shown, and not judged
	Bindings  []event.Binding     `json:"bindings"`       // with the fanout exchange as source or destination
	OfTopic   []event.Binding     `json:"topic_bindings"` // with the topic exchange as source
	Waiting   int                 `json:"outbox_rows"`
	Processes []Process           `json:"processes"` // everybody who has reported within Recently
	Shadows   Shadows             `json:"comparison"`
	Unknown   []string            `json:"cannot_know"`
}

// Ladder is a queue of ours with those its messages go to when they fail.
type Ladder struct {
	Main  event.QueueState   `json:"queue"`
	Retry []event.QueueState `json:"retry"`
	Dead  event.QueueState   `json:"dead"`
}

// Next is the phase after the one that the hindmost living api process is in; Prepare when none lives.
func (f Facts) Next() Phase {
	if lowest, ok := f.lowest(); ok {
		return lowest.Next()
	}
	return Prepare
}

// lowest is the first phase, in their order, that a living api process is in.
func (f Facts) lowest() (lowest Phase, ok bool) {
	for _, p := range f.Processes {
		if p.Role != roleAPI || !p.Alive(f.At) {
			continue
		}
		if !ok || slices.Index(Phases, p.Phase) < slices.Index(Phases, lowest) {
			lowest, ok = p.Phase, true
		}
	}
	return lowest, ok
}

// living counts the living processes that are so.
func (f Facts) living(so func(Process) bool) (n int) {
	for _, p := range f.Processes {
		if p.Alive(f.At) && so(p) {
			n++
		}
	}
	return n
}

// bound answers what the fanout exchange leads to besides the old queue. It is empty while the bindings are not known.
func (f Facts) bound() (others []event.Binding) {
	for _, b := range f.Bindings {
		if b.Source == Exchange && (b.Kind != "queue" || b.Destination != Queue) {
			others = append(others, b)
		}
	}
	return others
}

// feeding answers the exchanges that lead to the fanout exchange. It is empty while the bindings are not known.
func (f Facts) feeding() (exchanges []string) {
	for _, b := range f.Bindings {
		if b.Kind == "exchange" && b.Destination == Exchange {
			exchanges = append(exchanges, b.Source)
		}
	}
	return exchanges
}
