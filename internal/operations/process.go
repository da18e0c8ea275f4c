package operations

import (
	"context"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/heartbeat"
	"github.com/smap-platform/identity/internal/status"
)

// Process is one that has reported within [Window], alive or not.
type Process struct {
	heartbeat.Process
	Says status.Report // of itself, with its last heartbeat
	Self bool          // it is the one that serves this console
}

// Silent returns the processes that have ended without saying so, and in whose place none of their role has started.
func Silent(all []Process, now time.Time) (silent []Process) {
	for _, p := range all {
		replaced := func(other Process) bool {
			// Two that were started at the same time are two, however soon one of them has ended.
			later := other.StartedAt.After(p.SeenAt) && other.StartedAt.Sub(p.StartedAt) > heartbeat.BeatEvery
			return other.Role == p.Role && later && other.Alive(now)
		}
		if p.StoppedAt == nil && !p.Alive(now) && !slices.ContainsFunc(all, replaced) {
			silent = append(silent, p)
		}
	}
	return silent
}

// Processes knows those that have reported within [Window].
type Processes interface {
	Processes(ctx context.Context) ([]Process, error)
}

// Scheduler knows when it has something to do.
type Scheduler interface {
	// NextDue returns the next moment after now at which something comes due; ok is false when nothing will.
	NextDue(ctx context.Context, now time.Time) (next time.Time, ok bool, err error)
}

// Migration is how far the database and the way off the previous release's fanout are.
type Migration struct {
	At    time.Time
	Steps []Step
	// Phase is that of the hindmost living api.
	Phase string
	// Next is the phase after it, and the same at the end.
	Next     string
	Safe     bool // to go there
	Blockers []string
	Unknown  []string
	Warnings []string
	Waiting  int // legacy copies in the outbox that have not left
}

// Step is a step of the database's schema.
type Step struct {
	Name      string
	AppliedAt time.Time // zero: it is pending
}

// Pending returns how many steps are not taken.
func (m Migration) Pending() (n int) {
	for _, s := range m.Steps {
		if s.AppliedAt.IsZero() {
			n++
		}
	}
	return n
}

// Migrations knows how far they are.
type Migrations interface {
	Migration(ctx context.Context) (Migration, error)
}
