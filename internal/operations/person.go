package operations

import (
	"context"
	"errors"
	"time"
)

// Person is everything about an address that support may see. There is no code, token, password or digest in it.
type Person struct {
	Email        string              `json:"email"`
	Warnings     []string            `json:"warnings,omitempty"`
	User         *PersonUser         `json:"user,omitempty"` // missing: there is none
	Subscription *PersonSubscription `json:"subscription,omitempty"`
	Sessions     []PersonSession     `json:"sessions"`
	Requests     []PersonRequest     `json:"code_requests"`
	Invitations  []PersonInvitation  `json:"invitations"`
	Mails        []PersonMail        `json:"mails"`   // of the last 30 days, the newest first
	Waiting      []PersonMail        `json:"waiting"` // those of them that are on their way
}

// PersonUser is the account.
type PersonUser struct {
	ID        string    `json:"id"`
	State     string    `json:"state"` // active, invited, not verified, disabled, deleted
	Role      string    `json:"role,omitempty"`
	Locale    string    `json:"locale,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	DeletedAt time.Time `json:"deleted_at,omitzero"`
}

// PersonSubscription is what the person holds, or held last.
type PersonSubscription struct {
	ID       string     `json:"id"`
	Plan     string     `json:"plan_code"`
	Status   string     `json:"status"`
	Entitled bool       `json:"entitled"`
	Until    *time.Time `json:"effective_until"` // null: open-ended
}

// PersonSession is a login that goes on.
type PersonSession struct {
	ID         string    `json:"id"`
	Device     string    `json:"device_name,omitempty"`
	UserAgent  string    `json:"user_agent,omitempty"`
	IP         string    `json:"ip_address,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// PersonRequest is a request for codes with its newest code.
type PersonRequest struct {
	Purpose    string    `json:"purpose"`
	Network    string    `json:"network,omitempty"` // from where it came
	CreatedAt  time.Time `json:"created_at"`
	CodeAt     time.Time `json:"code_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	State      string    `json:"state"` // good, used, expired, ended by wrong tries
	WrongTries int       `json:"wrong_tries"`
	EventID    string    `json:"event_id,omitempty"`
}

// PersonInvitation is an invitation by mail.
type PersonInvitation struct {
	BatchID   string    `json:"project_id"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	State     string    `json:"state"` // open, accepted, cancelled, expired
	EventID   string    `json:"event_id"`
}

// PersonMail is a mail to the address.
type PersonMail struct {
	EventID   string    `json:"event_id"`
	Kind      string    `json:"kind"`
	State     string    `json:"state"` // of the ledger, or outbox, or dead
	AskedAt   time.Time `json:"asked_at"`
	ChangedAt time.Time `json:"changed_at"`
	// NextAt is before when nothing happens to a mail that is on its way; missing when it can be any moment.
	NextAt   *time.Time `json:"next_at,omitempty"`
	Attempts int        `json:"attempts"`
	Repeats  int        `json:"repeats"`         // tries of them after one of which the outcome is unknown
	Class    string     `json:"class,omitempty"` // of the server's last reply, or of what failed: smtp_rcpt_550
}

// ErrNobody is the error of an address or an id of which nothing is known.
var ErrNobody = errors.New("nothing is known of this address: no user, no request for a code, and no mail in 30 days")

// Verb is something that an operator does to an account.
type Verb string

// The verbs, as on the command line.
const (
	Disable     Verb = "disable"
	Enable      Verb = "enable"
	EndSessions Verb = "end-sessions"
	Resend      Verb = "resend"
	Promote     Verb = "promote"
	Demote      Verb = "demote"
	Delete      Verb = "delete"
)

// People knows who has an account, and does to accounts what operators ask for.
type People interface {
	// ByAddress returns everything about an address that support may see, or ErrNobody.
	ByAddress(ctx context.Context, address string) (Person, error)
	// ByID is ByAddress for the address of a user who is not deleted.
	ByID(ctx context.Context, userID string) (Person, error)
	// Do does what verb says to the account of a user, in the name of the operator of ctx, and returns what was done. reason
	// is kept by Disable and Delete.
	Do(ctx context.Context, verb Verb, userID, reason string) (done string, err error)
}
