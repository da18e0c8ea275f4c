package legacy

import (
	"slices"

	"github.com/smap-platform/identity/internal/event"
)

// Phase is a step of the migration, as EVENTS_MIGRATION_PHASE names it. It says what a process commits, and nothing
// about what it reads: processes of any two phases may run side by side.
type Phase string

// The phases, in the order they are walked forwards.
const (
	Prepare  Phase = "prepare"  // a legacy copy
	Dual     Phase = "dual"     // a legacy copy, and a topic copy stamped OwnerLegacy
	Cutover  Phase = "cutover"  // a topic copy; the old topology stays declared
	Complete Phase = "complete" // a topic copy
)

// Phases are all of them, in order.
var Phases = []Phase{Prepare, Dual, Cutover, Complete}

// Fanout reports whether a mail gets a legacy copy, which is then the one that sends.
func (p Phase) Fanout() bool { return p == Prepare || p == Dual }

// Leaves reports whether the mails of a key are sent from their legacy copies: by a consumer of the previous release, or by
// ours, which reads its queue as well.
func (p Phase) Leaves(key event.RoutingKey) bool {
	return p.Fanout() && key == event.EmailVerificationRequested
}

// Topic reports whether a mail gets a topic copy. It is stamped where there is a legacy copy as well.
func (p Phase) Topic() bool { return p != Prepare }

// Declares reports whether the old exchange, queue and binding are declared on every connection.
func (p Phase) Declares() bool { return p != Complete }

// Returnable reports whether binaries of the previous release must be able to take over again: passwords stay readable
// to them.
func (p Phase) Returnable() bool { return p != Complete }

// OldTokens reports whether a token of the previous release is still taken.
func (p Phase) OldTokens() bool { return p != Complete }

// Mixed reports whether api pods of the previous release may serve beside this one: both must accept a code.
func (p Phase) Mixed() bool { return p == Prepare }

// Next returns the phase after p; Complete after Complete.
func (p Phase) Next() Phase {
	return Phases[min(slices.Index(Phases, p)+1, len(Phases)-1)]
}
