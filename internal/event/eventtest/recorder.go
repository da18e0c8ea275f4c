// Package eventtest owns what tests of use cases and brokers share: a Publisher that records, and the conformance suite
// that every broker has to pass. It does not test any broker by itself.
package eventtest

import (
	"context"
	"slices"
	"sync"

	"github.com/smap-platform/identity/internal/event"
)

// Recorder is a Publisher that keeps what it is given, after the checks a real one makes. Safe for concurrent use.
type Recorder struct {
	Err error // returned by Publish instead of recording, when set

	mu     sync.Mutex
	events []event.Event
}

// Publish records events: all of them, or none with an error.
func (r *Recorder) Publish(_ context.Context, events ...event.Event) error {
	if r.Err != nil {
		return r.Err
	}
	for _, e := range events {
		if _, err := event.Encode(e); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	return nil
}

// Events returns what was recorded, oldest first.
func (r *Recorder) Events() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}
