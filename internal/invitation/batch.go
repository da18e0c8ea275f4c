package invitation

import (
	"bytes"
	"time"

	"github.com/google/uuid"
)

const (
	// MarkInterval is the shortest time between two countings of one batch.
	MarkInterval = 2 * time.Minute
	// markGrace is how long the consumer may still be at work behind the last mail of a batch.
	markGrace = 2 * time.Minute
)

// Batch is one upload of addresses. It is a project whose items are its invitations. Together with them and the mail
// ledger it is the truth; the project's progress follows.
type Batch struct {
	ID             string // the project's: proj_<uuidv7>
	AdminID        string
	IdempotencyKey string // empty: none
	RequestDigest  []byte // of the whole upload
	Locale         string // of its mails, the closing one included
	Total          int64  // invitations
	CreatedAt      time.Time
	LastDueAt      time.Time // when its last mail may leave
	MarkedAt       time.Time // when its items were last counted again; zero: never
	CancelledAt    time.Time // zero: not cancelled
	CompletedAt    time.Time // zero: not completed
}

// NewBatchID returns a new id for a batch, which is a project id to everybody else.
func NewBatchID() string { return "proj_" + uuid.Must(uuid.NewV7()).String() }

// CheckDigest returns [ErrKeyReused] unless b was made of the upload with this digest.
func (b *Batch) CheckDigest(digest []byte) error {
	if !bytes.Equal(b.RequestDigest, digest) {
		return ErrKeyReused
	}
	return nil
}

// Cancel ends what has not left yet. A second call changes nothing.
func (b *Batch) Cancel(now time.Time) {
	if b.CancelledAt.IsZero() {
		b.CancelledAt = now
	}
	if b.LastDueAt.After(now) {
		b.LastDueAt = now
	}
}

// Complete marks b as completed and reports whether it was not before.
func (b *Batch) Complete(now time.Time) bool {
	if !b.CompletedAt.IsZero() {
		return false
	}
	b.CompletedAt = now
	return true
}

// MarksDue reports whether the items of b have to be counted again because marks may be missing: all mails should have
// left, or b was cancelled, and the last counting is at least [MarkInterval] ago.
func (b *Batch) MarksDue(now time.Time) bool {
	if !b.MarkedAt.IsZero() && now.Sub(b.MarkedAt) < MarkInterval {
		return false
	}
	return !b.CancelledAt.IsZero() || now.Sub(b.LastDueAt) > markGrace
}

// Completion is the end of a project: all of its items are finished.
type Completion struct {
	ProjectID   string
	Total       int64
	Done        int64 // failures included
	Errors      int64
	CompletedAt time.Time
}
