package fanout

import "slices"

// Phase is a step of the migration, as EVENTS_MIGRATION_PHASE has it. It says what a process commits, and nothing about
// what it reads: pods of any two phases may run side by side.
type Phase string

// The phases, in the order they are walked forwards.
const (
	Prepare  Phase = "prepare"  // a fanout copy
	Dual     Phase = "dual"     // a fanout copy, and a topic copy stamped OwnerLegacy
	Cutover  Phase = "cutover"  // a topic copy; the old topology stays declared
	Complete Phase = "complete" // a topic copy
)

// Phases is all of them, in order.
var Phases = []Phase{Prepare, Dual, Cutover, Complete}

// Fanout tells whether a mail gets a fanout copy. That one is then the one that sends.
func (p Phase) Fanout() bool { return p == Prepare || p == Dual }

// Topic tells whether a mail gets a topic copy. It is stamped where there is a fanout copy as well.
func (p Phase) Topic() bool { return p != Prepare }

// Declares tells whether exchange, queue and binding of the previous release are declared at every connection.
func (p Phase) Declares() bool { return p != Complete }

// Returnable tells whether binaries of the previous release must be able to take over again: passwords stay readable
// to them.
func (p Phase) Returnable() bool { return p != Complete }

// Mixed tells whether api pods of the previous release may serve beside this one: a code must then be accepted by either.
func (p Phase) Mixed() bool { return p == Prepare }

// Next is the phase after p; Complete after Complete.
func (p Phase) Next() Phase {
	return Phases[min(slices.Index(Phases, p)+1, len(Phases)-1)]
}
