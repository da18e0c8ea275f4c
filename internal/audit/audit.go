// Package audit owns the record of who did what to whom: every change of an account, of what belongs to it and of the
// system, what administrators and operators do, and the signs of an attack that something was done about.
//
// An entry is written in the transaction of what it records, so there is neither without the other. Use cases of other
// domains know one method of this package, [Recorder]. Failed logins and wrong codes are no entries: they are counted and
// logged.
package audit

import (
	"context"
	"time"

	"github.com/smap-platform/identity/pkg/apperror"
)

// Action is what was done, as "user.disabled".
type Action string

// The actions. docs/operations.md describes them.
const (
	UserVerified          Action = "user.verified"
	UserPasswordChanged   Action = "user.password_changed"
	UserPasswordReset     Action = "user.password_reset"
	UserProfileChanged    Action = "user.profile_changed"
	UserRoleChanged       Action = "user.role_changed"
	UserDisabled          Action = "user.disabled"
	UserEnabled           Action = "user.enabled"
	UserDeleted           Action = "user.deleted"
	UserErased            Action = "user.erased"
	SubscriptionCreated   Action = "subscription.created"
	SubscriptionChanged   Action = "subscription.changed"
	SubscriptionCancelled Action = "subscription.cancelled"
	SubscriptionDeleted   Action = "subscription.deleted"
	PlanCreated           Action = "plan.created"
	PlanChanged           Action = "plan.changed"
	PlanDeleted           Action = "plan.deleted"
	InvitationsMade       Action = "invitations.made"
	InvitationsCancelled  Action = "invitations.cancelled"
	SessionEnded          Action = "session.ended"
	SessionsEnded         Action = "sessions.ended"
	TokenReused           Action = "token.reused"
	DeadLettersReplayed   Action = "deadletters.replayed"
	DeadLettersDiscarded  Action = "deadletters.discarded"
	DeadLettersErased     Action = "deadletters.erased"
	OutboxRetried         Action = "outbox.retried"
	OutboxErased          Action = "outbox.erased"
	StateRebuilt          Action = "state.rebuilt"
	MailResent            Action = "mail.resent"
	LoginLocked           Action = "login.locked"
	CodesLocked           Action = "codes.locked"
	LanePaused            Action = "lane.paused"
	LaneResumed           Action = "lane.resumed"
)

// Actions are all of them. The migration has one of its own.
var Actions = []Action{
	UserVerified, UserPasswordChanged, UserPasswordReset, UserProfileChanged, UserRoleChanged, UserDisabled, UserEnabled,
	UserDeleted, UserErased, SubscriptionCreated, SubscriptionChanged, SubscriptionCancelled, SubscriptionDeleted, PlanCreated,
	PlanChanged, PlanDeleted, InvitationsMade, InvitationsCancelled, SessionEnded, SessionsEnded, TokenReused, DeadLettersReplayed,
	DeadLettersDiscarded, DeadLettersErased, OutboxRetried, OutboxErased, StateRebuilt, MailResent, LoginLocked, CodesLocked,
	LanePaused, LaneResumed,
}

// Outcome is what became of it.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
)

// Entry is one line of the record. Everything but Details stays for ever and names people by their ids alone.
type Entry struct {
	ID        string // uuid; entries with the same one are one entry
	At        time.Time
	Action    Action
	Outcome   Outcome
	ActorID   string // the user who did it; empty: nobody who is logged in
	Operator  string // who did it on the command line, as they call themselves; empty for requests
	UserID    string // whom it was done to; empty: nobody we know, or something else than a user
	SubjectID string // what it was done to, when that is no user, or beside the user: a subscription, a plan, a batch, a session
	RequestID string // X-Request-ID; empty on the command line
	Details
}

// Details are the personal data of an entry. They are removed when they are old, or the user is erased.
type Details struct {
	Address string // the e-mail address
	IP      string
	Agent   string // the client program
	Reason  string // free text, or what changed
}

// Recorder writes entries. It is the one port that the use cases of other domains know.
type Recorder interface {
	// Record stores e in the transaction of ctx; without one it returns an error. It sets ID unless it is set, At, and what
	// is empty of Outcome (then Done), ActorID, Operator, RequestID, IP and Agent, from the [Origin] of ctx. An entry whose ID
	// is stored is not stored again.
	Record(ctx context.Context, e Entry) error
}

// Filter selects entries. Empty fields select all.
type Filter struct {
	UserID  string
	ActorID string
	Action  Action
	// Operator and SubjectID select what was done by, and to, exactly these.
	Operator  string
	SubjectID string
	Since     time.Time // from then on
	Until     time.Time // before then
	Limit     int
	Offset    int
}

// Repository stores entries. It never changes one but to remove details.
type Repository interface {
	// Append stores an entry in the transaction of ctx, unless its ID is stored. It needs a transaction.
	Append(ctx context.Context, e Entry) error
	// List returns the entries that f selects, the newest first, and how many there are without its Limit and Offset.
	List(ctx context.Context, f Filter) (entries []Entry, total int, err error)
	// PurgeDetails removes the details of entries older than then, and returns of how many.
	PurgeDetails(ctx context.Context, then time.Time) (int64, error)
}

// Clock returns the time all processes agree on.
type Clock interface{ Now() time.Time }

// Origin is where a request, or a command, comes from.
type Origin struct {
	ActorID   string
	Operator  string
	RequestID string
	IP        string
	Agent     string
}

type originKey struct{}

// WithOrigin returns a context in which entries come from o.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns the origin of ctx, zero when it has none.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// The errors of this domain with the codes the front end decides by (docs/compatibility.md).
var (
	ErrForbidden = apperror.New(apperror.Forbidden, 403, "Only an administrator may do this")
	ErrQuery     = apperror.New(apperror.Invalid, 150001, "The request is not valid")
)
