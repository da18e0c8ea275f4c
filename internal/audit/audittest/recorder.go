// Package audittest has an [audit.Recorder] for tests.
package audittest

import (
	"context"
	"sync"

	"github.com/smap-platform/identity/internal/audit"
)

// Recorder keeps what is recorded. It is safe for concurrent use; the zero value is ready.
type Recorder struct {
	Err error // returned for every entry, which is not kept

	mu      sync.Mutex
	entries []audit.Entry
}

// Record implements [audit.Recorder].
func (r *Recorder) Record(_ context.Context, e audit.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Err == nil {
		r.entries = append(r.entries, e)
	}
	return r.Err
}

// Entries returns what was recorded.
func (r *Recorder) Entries() []audit.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]audit.Entry(nil), r.entries...)
}
