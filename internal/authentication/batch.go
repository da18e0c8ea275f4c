package authentication

import (
	"bytes"
	"time"

	"github.com/google/uuid"
)

// A batch whose marks may be missing is counted again, but not before markGrace after its last mail could leave – until
// then the consumer is still at it – and not more often than once in MarkInterval.
const (
	markGrace    = 2 * time.Minute
	MarkInterval = 2 * time.Minute
)

// Batch is one upload of addresses. It is a project: its invitations are the items. Together with them and the mail
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
	MarkedAt       time.Time // when everything known of it was last counted again; zero: never
	CancelledAt    time.Time // zero: not cancelled
	CompletedAt    time.Time // when all of it was finished; zero: not yet
}

// NewBatchID mints a batch's id, which is a project's to everybody else.
func NewBatchID() string { return "proj_" + uuid.Must(uuid.NewV7()).String() }

// Repeats answers nil when an upload with this digest is the one b was made of, else ErrKeyReused.
func (b *Batch) Repeats(digest []byte) error {
	if !bytes.Equal(b.RequestDigest, digest) {
		return ErrKeyReused
	}
	return nil
}

// Cancel ends what has not left yet. A second time changes nothing.
func (b *Batch) Cancel(now time.Time) {
	if b.CancelledAt.IsZero() {
		b.CancelledAt = now
	}
	if b.LastDueAt.After(now) {
		b.LastDueAt = now
	}
}

// Complete tells whether that is news.
func (b *Batch) Complete(now time.Time) bool {
	if !b.CompletedAt.IsZero() {
		return false
	}
	b.CompletedAt = now
	return true
}

// MarksDue tells whether b's items have to be counted again because marks may have got lost: all mails should have
// left, or it was cancelled, and nobody has looked lately.
func (b *Batch) MarksDue(now time.Time) bool {
	if !b.MarkedAt.IsZero() && now.Sub(b.MarkedAt) < MarkInterval {
		return false
	}
	return !b.CancelledAt.IsZero() || now.Sub(b.LastDueAt) > markGrace
}
