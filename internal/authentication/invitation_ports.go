package authentication

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=invitation_ports.go -destination=mock/invitation_ports.go -package=mock

// BatchRepository stores batches. Every method takes part in the transaction of ctx; Create, Lock, Save and SaveReport
// need one.
type BatchRepository interface {
	// Create answers false, and stores nothing, when b's administrator has used its key before. While another transaction
	// is about to use it, Create waits for its end.
	Create(ctx context.Context, b Batch) (bool, error)
	// ByKey answers ErrBatchNotFound when the administrator has not used the key.
	ByKey(ctx context.Context, adminID, key string) (Batch, error)
	// Lock keeps every other Lock of the batch waiting until the transaction ends. It answers ErrBatchNotFound when there
	// is none.
	Lock(ctx context.Context, id string) (Batch, error)
	// Save stores Total and the times of a batch that was created or locked in the same transaction.
	Save(ctx context.Context, b Batch) error
	// LastDue answers when the last mail of all batches may leave; the zero time when there is no batch.
	LastDue(ctx context.Context) (time.Time, error)

	// SaveReport stores part n, counted from 0, of what was rejected. The parts are small enough to be held in memory.
	SaveReport(ctx context.Context, batchID string, n int, part []byte) error
	// Report answers nil when there is no such part.
	Report(ctx context.Context, batchID string, n int) (part []byte, err error)

	// TakeOpen answers up to limit batches that are not completed and that nobody has looked at for idle, those first that
	// wait longest. Nobody else is given them for that long.
	TakeOpen(ctx context.Context, now time.Time, idle time.Duration, limit int) ([]Batch, error)
	// Marked stores that everything known of the batch was counted again.
	Marked(ctx context.Context, id string, at time.Time) error
	// DueSince answers up to limit batches with invitations whose last mail may leave after since, in the order of their
	// ids and behind after.
	DueSince(ctx context.Context, since time.Time, after string, limit int) ([]Batch, error)
}

// InvitationRepository stores invitations. Every method takes part in the transaction of ctx; Create, LockByDigest, Save
// and Cancel need one. Those that answer one answer ErrInvitationNotFound when there is none.
type InvitationRepository interface {
	// Create stores many in few statements.
	Create(ctx context.Context, invitations []Invitation) error
	ByDigest(ctx context.Context, digest []byte) (Invitation, error)
	// LockByDigest is ByDigest that keeps every other LockByDigest, and Cancel, waiting until the transaction ends.
	LockByDigest(ctx context.Context, digest []byte) (Invitation, error)
	ByEvent(ctx context.Context, eventID string) (Invitation, error)
	// Save stores AcceptedAt of an invitation that was locked in the same transaction.
	Save(ctx context.Context, i Invitation) error
	// Cancel cancels those with these events that are neither accepted nor cancelled, and answers them.
	Cancel(ctx context.Context, eventIDs []string, now time.Time) ([]Invitation, error)
	// Cancelled counts those of a batch that were cancelled.
	Cancelled(ctx context.Context, batchID string) (int64, error)
	// Page answers up to limit of a batch, in the order of their ids and behind after.
	Page(ctx context.Context, batchID, after string, limit int) ([]Invitation, error)
}

// PaceRepository stores when the next mail of any batch may leave: one rate for all batches and processes.
type PaceRepository interface {
	// Lock answers that time, now when none was ever stored, and keeps every other Lock waiting until the transaction
	// ends. It needs one.
	Lock(ctx context.Context, now time.Time) (time.Time, error)
	// Save takes part in the transaction that locked it.
	Save(ctx context.Context, next time.Time) error
}

// Withdrawer is what authentication asks of the outbox.
type Withdrawer interface {
	// Withdraw deletes what has not left yet of a batch, in the transaction of ctx, and answers the ids of its events.
	Withdraw(ctx context.Context, batchID string) (eventIDs []string, err error)
}

// TrackedItem is one invitation whose mail's work has ended.
type TrackedItem struct {
	ID     string // the mail's event id
	Failed bool
}

// MaxTrackedItems is how many items one Mark takes.
const MaxTrackedItems = 1000

// ProgressTracker is what authentication asks of projects. Every method may be repeated after any error. Never call it in
// a transaction.
type ProgressTracker interface {
	// Begin creates the project of a batch that is about to be written. Its total is not known yet, so it cannot be done:
	// but its first mail can leave right with the commit, and has to find something to be counted in.
	Begin(ctx context.Context, projectID, owner string) error
	// Forget takes Begin back.
	Forget(ctx context.Context, projectID string) error
	// Open creates the project of a batch with its total, or what is missing of it, and overwrites nothing.
	Open(ctx context.Context, projectID, owner string, total int64) error
	// Mark counts 1 to MaxTrackedItems items, each once whatever is repeated. A project that is not there, or is final,
	// is no error.
	Mark(ctx context.Context, projectID string, items []TrackedItem) error
	// State tells whether there is such a project with its total, and whether it is done or has failed.
	State(ctx context.Context, projectID string) (found, final bool, err error)
}

// InvitationMail is a mail that carries an invitation's token.
type InvitationMail struct {
	EventID   string
	Recipient string
	Token     string
	Locale    string
	ExpiresAt time.Time
}

// InvitationMailer is what authentication asks of notification. Its errors are in the vocabulary of internal/event.
type InvitationMailer interface {
	// SendInvitation sends the mail at most once per event id.
	SendInvitation(ctx context.Context, m InvitationMail) error
	// Supersede records that the mail of eventID is not sent because nobody needs it any more.
	Supersede(ctx context.Context, eventID string) error
}

// MailOutcomes is what authentication asks of the mail ledger.
type MailOutcomes interface {
	// Outcomes answers for up to MaxTrackedItems events what became of their mails: true when sent, false when given up.
	// What has not ended is missing.
	Outcomes(ctx context.Context, eventIDs []string) (map[string]bool, error)
}
