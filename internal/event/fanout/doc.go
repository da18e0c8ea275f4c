// Package fanout owns the previous release's mail path – its exchange, its queue, its body – and the way off it: who
// sends a mail in which phase (docs/adr/0006), the comparison of both paths, and what the operator needs to know before
// the next step.
//
// It promises that an event yields exactly one copy that sends, whatever the phase, and that every decision is on the
// copy when its transaction commits: relays and consumers are blind to phases. It sends nothing itself, and it does not
// promise that a fanout copy is never repeated: its readers recognise no repeats, so what is left is listed in the ADR.
package fanout
