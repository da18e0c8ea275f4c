// Package notification owns the sending of mail: what a mail says, that it is sent once, and what became of it.
//
// It promises that a mail whose acceptance was recorded is never sent again, and that a mail which is still of use is
// not given up. It does not promise that a mail is never received twice: a crash between a server's 250 and our
// record of it leaves a window that no protocol closes (RFC 1047). Such a mail is repeated once, a code twice, with the
// same Message-ID, and counted.
package notification

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=ports.go -destination=mock/ports.go -package=mock

// Ledger stores deliveries. Both methods need a transaction in ctx.
type Ledger interface {
	// Lock returns the entry of fresh.EventID. It stores fresh when there is none. Every other Lock of that entry waits
	// until the transaction ends.
	Lock(ctx context.Context, fresh Delivery) (Delivery, error)
	// Save stores an entry that was locked in the same transaction.
	Save(ctx context.Context, d Delivery) error
}

// OwedLedger stores the entries of mails with the events that ask for them.
type OwedLedger interface {
	// Owe stores entries in the transaction of ctx. An event that has an entry keeps it.
	Owe(ctx context.Context, entries []Delivery) error
}

// Mail is one mail to one recipient.
type Mail struct {
	// MessageID has no angle brackets and is the same for every try of one event. It is empty for a mail that no event
	// names; the mailer then generates one.
	MessageID string
	To        string
	Cc        []string // optional; a refused copy neither stops the mail nor is reported
	ReplyTo   string   // optional
	Bulk      bool     // one of many: it gives way to mails that a person waits for
	Content
}

// Content is what a mail says. Text may be empty where there is HTML.
type Content struct {
	Subject string // one line
	Text    string
	HTML    string
}

// Mailer sends one mail.
type Mailer interface {
	// Send calls accepted after the server's 250 and before it ends the conversation, with a context that a shutdown
	// does not cancel. Its errors are *SendError, except the one that accepted returned.
	Send(ctx context.Context, m Mail, accepted func(ctx context.Context) error) error
}

// Renderer writes mails in the recipient's language.
type Renderer interface {
	// Verification returns the mail with a one-time code.
	Verification(locale, code string, now, expiresAt time.Time) (Content, error)
	// PasswordReset returns the mail with a one-time code that sets a new password.
	PasswordReset(locale, code string, now, expiresAt time.Time) (Content, error)
	// AccountExists returns the notice that an address which has an account was registered.
	AccountExists(locale string) (Content, error)
	// SecurityNotice returns the notice that something of this kind was done to an account.
	SecurityNotice(locale, kind string, at time.Time) (Content, error)
	// Invitation shows link, or the token itself when link is empty.
	Invitation(locale, token, link string, expiresAt time.Time) (Content, error)
	// ProjectCompleted returns the closing mail of a project.
	ProjectCompleted(locale string, c Completion) (Content, error)
	// TrialEnding returns the reminder of a trial that ends in days, 1 or more.
	TrialEnding(locale string, days int, trialEnd time.Time) (Content, error)
}

// Completion is what the closing mail of a project reports.
type Completion struct {
	ProjectID string
	Total     int64
	Done      int64 // failures included
	Errors    int64 // those of Done that failed
}

// Observer logs and counts what happens to mails.
type Observer interface {
	// MailAccepted reports a server's 250. eventID is empty for a mail that no event names.
	MailAccepted(ctx context.Context, eventID, recipient string)
	MailFailed(class string) // one failed try
	MailRepeated()           // sent although an earlier try may have reached the server
	MailDropped(state State)
}
