package invitation

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=ports.go -destination=mock/ports.go -package=mock

// A transaction that needs several of the locks below takes them in this order: batch, pace, invitations, accounts.

// BatchRepository stores batches. Every method takes part in the transaction of ctx; all but ByKey and Report need one.
type BatchRepository interface {
	// Create stores b and returns true. It returns false and stores nothing when the administrator has used the key
	// before. While another transaction is about to use that key, Create waits for its end.
	Create(ctx context.Context, b Batch) (bool, error)
	// ByKey returns [ErrBatchNotFound] when the administrator has not used the key.
	ByKey(ctx context.Context, adminID, key string) (Batch, error)
	ReportRepository
	BatchLocker
}

// ReportRepository stores reports in parts. SaveReport needs a transaction in ctx.
type ReportRepository interface {
	// SaveReport stores part n, counted from 0, of a report. A part is small enough to be held in memory.
	SaveReport(ctx context.Context, batchID string, n int, part []byte) error
	// Report returns nil when there is no such part.
	Report(ctx context.Context, batchID string, n int) (part []byte, err error)
}

// ErasureRepository erases what batches hold of a person. Every method needs a transaction in ctx.
type ErasureRepository interface {
	// EraseUser removes from the batches of an administrator the keys they chose, from those of before then every key that
	// names the address, and from all of these, and those by which the user was invited, the digest of the upload.
	EraseUser(ctx context.Context, userID, email string, then time.Time) error
	// ReportedBefore returns the ids of the batches with a report that were uploaded before then.
	ReportedBefore(ctx context.Context, then time.Time) ([]string, error)
	// DeleteReport deletes all parts of a report.
	DeleteReport(ctx context.Context, batchID string) error
	ReportRepository
}

// BatchLocker changes batches. Every method needs a transaction in ctx.
type BatchLocker interface {
	// Lock returns the batch and holds its lock, the first of all, until the transaction ends. It returns
	// [ErrBatchNotFound] when there is none.
	Lock(ctx context.Context, id string) (Batch, error)
	// Save stores Total and the times of a batch that was created or locked in the same transaction.
	Save(ctx context.Context, b Batch) error
}

// OpenBatchRepository finds batches whose progress may have to be counted again. Every method is a statement of its own.
type OpenBatchRepository interface {
	// ClaimOpen returns up to limit batches that are not completed and were not claimed for idle, the longest waiting
	// first. No other claim gets them for that long.
	ClaimOpen(ctx context.Context, now time.Time, idle time.Duration, limit int) ([]Batch, error)
	// DueSince returns up to limit batches with invitations whose last mail may leave after since, in the order of their
	// ids and behind after.
	DueSince(ctx context.Context, since time.Time, after string, limit int) ([]Batch, error)
	// Marked stores that the items of a batch were counted again.
	Marked(ctx context.Context, id string, at time.Time) error
}

// Repository stores invitations. Every method takes part in the transaction of ctx; all but ByDigest and CountCancelled
// need one. Those that return one invitation return [ErrNotFound] when there is none.
type Repository interface {
	// Create stores many invitations in few statements.
	Create(ctx context.Context, invitations []Invitation) error
	ByDigest(ctx context.Context, digests ...[]byte) (Invitation, error)
	// LockByDigest is ByDigest that holds the invitation's lock until the transaction ends.
	LockByDigest(ctx context.Context, digests ...[]byte) (Invitation, error)
	// Save stores AcceptedAt of an invitation that was locked in the same transaction.
	Save(ctx context.Context, i Invitation) error
	// Cancel cancels the invitations of these events that are neither accepted nor cancelled, and returns those it
	// cancelled. It holds their locks until the transaction ends.
	Cancel(ctx context.Context, eventIDs []string, now time.Time) ([]Invitation, error)
	// CountCancelled returns how many invitations of a batch are cancelled.
	CountCancelled(ctx context.Context, batchID string) (int64, error)
}

// EventFinder finds the invitation a mail belongs to.
type EventFinder interface {
	// ByEvent returns [ErrNotFound] when there is none.
	ByEvent(ctx context.Context, eventID string) (Invitation, error)
}

// Pager reads the invitations of a batch.
type Pager interface {
	// Page returns up to limit invitations of a batch, in the order of their ids and behind after.
	Page(ctx context.Context, batchID, after string, limit int) ([]Invitation, error)
}

// PurgeRepository finds and deletes what is out of date. The pages have up to limit invitations, in the order of their
// ids and behind after. Every method is a statement of its own.
type PurgeRepository interface {
	// ExpiredPage returns invitations that were not accepted and have expired by now.
	ExpiredPage(ctx context.Context, now time.Time, after string, limit int) ([]Invitation, error)
	// OldPage returns invitations of batches whose last mail was due before then.
	OldPage(ctx context.Context, then time.Time, after string, limit int) ([]Invitation, error)
	// DeleteOld deletes batches whose last mail was due before then, but those in keep, with their invitations and
	// reports, and returns how many.
	DeleteOld(ctx context.Context, then time.Time, keep []string) (int64, error)
}

// PaceRepository stores when the next mail of any batch may leave: one rate for all batches and processes. Every method
// needs a transaction in ctx.
type PaceRepository interface {
	// Lock returns that time, or now when none was ever stored, and holds the pace's lock until the transaction ends. Two
	// uploads that share addresses would otherwise wait for each other's accounts.
	Lock(ctx context.Context, now time.Time) (time.Time, error)
	// LastDue returns when the last mail of all batches may leave; the zero time when there is no batch.
	LastDue(ctx context.Context) (time.Time, error)
	// Save stores the time. The caller holds the lock.
	Save(ctx context.Context, next time.Time) error
}

// AccountCreator creates and deletes accounts for invited addresses, in the transaction of ctx.
type AccountCreator interface {
	// CreateInvited creates an account, inactive and without a password, for each address that no account has, and
	// returns the new ids by address. It waits for registrations of these addresses that are under way. The caller holds
	// the pace's lock.
	CreateInvited(ctx context.Context, emails []string, locale string, now time.Time) (ids map[string]string, err error)
	// DeleteInvited deletes those of up to [AccountChunk] accounts that are still inactive and without a password, and
	// returns how many: their addresses are free again. In a transaction it holds the locks of these accounts, the last
	// of all, until the end.
	DeleteInvited(ctx context.Context, userIDs []string, now time.Time) (int64, error)
}

// AccountEraser deletes accounts that were never used, and what is left of them.
type AccountEraser interface {
	// DeleteInvited is that of [AccountCreator].
	DeleteInvited(ctx context.Context, userIDs []string, now time.Time) (int64, error)
	// EraseInvited removes every trace of those of up to [AccountChunk] accounts that DeleteInvited has deleted.
	EraseInvited(ctx context.Context, userIDs []string) error
}

// AccountChunk is how many accounts are created, deleted or erased at a time: enough to make the round trips small
// beside the work.
const AccountChunk = 500

// Account is what invitations need to know of an account.
type Account struct {
	Email  string
	Active bool // its address is proven
}

// AccountFinder finds accounts.
type AccountFinder interface {
	// Account returns [ErrAccountNotFound] when there is none, or it was deleted.
	Account(ctx context.Context, userID string) (Account, error)
}

// Client is where a request comes from, in the terms of the domain that opens sessions; nothing here looks into it.
type Client any

// Session is a login: a signed token and how long its cookie lives.
type Session struct {
	Token    string
	Lifetime time.Duration
}

// Activator turns an invited account into a user's own.
type Activator interface {
	// Activate locks the account, stores the hash of its password, activates it and starts its trial, all in the
	// transaction of ctx. The caller holds the invitation's lock. The session, of the client, is worth something once the transaction has
	// committed. Activate returns [ErrInvalid] when the account is gone, and [ErrUsed] when it is active already.
	Activate(ctx context.Context, userID, passwordHash string, client Client) (Session, error)
}

// PasswordHasher hashes passwords, a bounded number at a time. Never call it in a transaction. The clients of its contexts
// take turns, so that one with many requests does not keep another waiting.
type PasswordHasher interface {
	// Hash returns an unavailable error, mostly at once, when it would have to wait too long.
	Hash(ctx context.Context, password string) (string, error)
}

// Outbox withdraws mails that have not left.
type Outbox interface {
	// Withdraw deletes what has not left yet of a batch, in the transaction of ctx, and returns the ids of its events.
	Withdraw(ctx context.Context, batchID string, now time.Time) (eventIDs []string, err error)
}

// Item is one invitation whose mail needs no more work.
type Item struct {
	ID     string // the mail's event id
	Failed bool
}

// MaxItems is how many items one [Progress.Mark] accepts.
const MaxItems = 1000

// Progress counts the items of projects. Every method may be repeated after any error. Never call it in a transaction.
type Progress interface {
	// Begin creates the project of a batch that is about to be written. It has no total yet, so it cannot be done; but
	// the first mail can leave right with the commit, and has to find something to be counted in.
	Begin(ctx context.Context, projectID, owner string) error
	// Forget undoes Begin.
	Forget(ctx context.Context, projectID string) error
	// Open creates the project of a batch with its total, or what is missing of it, and overwrites nothing.
	Open(ctx context.Context, projectID, owner string, total int64) error
	// Mark counts 1 to [MaxItems] items, each once whatever is repeated. A project that does not exist or is final is no
	// error.
	Mark(ctx context.Context, projectID string, items []Item) error
	// State reports whether there is such a project with a total, and whether it is final.
	State(ctx context.Context, projectID string) (found, final bool, err error)
}

// MailLedger knows the outcomes of mails.
type MailLedger interface {
	// Outcomes returns, for up to [MaxItems] events, true where the mail was sent and false where it was given up. A mail
	// that has no outcome yet is missing.
	Outcomes(ctx context.Context, eventIDs []string) (map[string]bool, error)
}
