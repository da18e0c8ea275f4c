// Package notification owns the sending of mail: what it says, that it is sent once, and what became of it.
//
// It promises that a mail whose acceptance was recorded is never sent again, and that a mail which is still of use
// is not given up. It does not promise that nobody ever gets a mail twice: between a server's 250 and our record of
// it a crash leaves a window that nobody can close (RFC 1047). Such a mail is repeated once, with the same
// Message-ID, and counted.
package notification

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=ports.go -destination=mock/ports.go -package=mock

// Transactor runs fn in one transaction; see pkg/database.
type Transactor interface {
	WithinTx(ctx context.Context, fn func(ctx context.Context) error) error
}

// Clock tells the time all processes agree on: UTC, whole microseconds.
type Clock interface{ Now() time.Time }

// Ledger stores deliveries. Lock and Save need a transaction in ctx.
type Ledger interface {
	// Lock answers the entry of fresh.EventID, storing fresh when there is none, and keeps every other Lock of it
	// waiting until the transaction ends.
	Lock(ctx context.Context, fresh Delivery) (Delivery, error)
	// Save stores an entry that was locked in the same transaction.
	Save(ctx context.Context, d Delivery) error
	// State answers "" when there is no entry.
	State(ctx context.Context, eventID string) (State, error)
	// Outcomes answers the states of those mails that have ended, of a thousand at a time. One that is being sent, or
	// that nobody has tried yet, is not among them.
	Outcomes(ctx context.Context, eventIDs []string) (map[string]State, error)
	// Reopen lets a failed mail be sent again, as if no try of it had ever vanished: a person has decided that. Every
	// other entry, and a missing one, stays as it is.
	Reopen(ctx context.Context, eventID string) error
}

// Mail is one mail to one person.
type Mail struct {
	// MessageID without angle brackets; the same for every try of one event. Empty for a mail that no event names: the
	// mailer makes one up.
	MessageID string
	To        string
	Cc        []string // optional; a refusal of one keeps nothing from To, and is not reported
	ReplyTo   string   // optional
	Content
}

// Content is what a mail says. Text may be empty where there is HTML.
type Content struct{ Subject, Text, HTML string }

// Mailer sends one mail. accepted is called after the server's 250 and before the conversation is closed; its context
// is not cut by a shutdown. Send's errors are *SendError, except what accepted answered.
type Mailer interface {
	Send(ctx context.Context, m Mail, accepted func(ctx context.Context) error) error
}

// Renderer writes mails in the recipient's language.
type Renderer interface {
	Verification(locale, code string, now, expiresAt time.Time) (Content, error)
	// Invitation shows link, or the token itself where there is no link.
	Invitation(locale, token, link string, expiresAt time.Time) (Content, error)
	ProjectCompleted(locale string, c Completion) (Content, error)
}

// Completion is what the closing mail of a project tells.
type Completion struct {
	ProjectID string
	Total     int64
	Done      int64 // failures included
	Errors    int64 // those of Done that failed
}

// Observer counts.
type Observer interface {
	MailAccepted()
	MailFailed(class string) // one failed try
	MailRepeated()           // sent without knowing whether it already was
	MailDropped(state State)
}
