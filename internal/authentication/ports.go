// Package authentication owns people: their e-mail address, password, one-time codes and tokens.
//
// A user is active if and only if the address has been proven, which also starts the trial, in the same
// transaction. The package promises nothing about when a mail arrives, only that a code which was stored has
// its event in the same commit.
package authentication

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=ports.go -destination=mock/ports.go -package=mock

// UserRepository stores users. Every method takes part in the transaction of ctx. Users that were deleted are
// not found by any of them.
type UserRepository interface {
	// Create stores u, unless a user has the same address, whatever its case: then it does nothing.
	Create(ctx context.Context, u User) error
	// ByID and ByEmail return [ErrUserNotFound] when there is none. Addresses are compared whatever the case of letters.
	ByID(ctx context.Context, id string) (User, error)
	ByEmail(ctx context.Context, email string) (User, error)
	// LockByEmail is ByEmail that keeps every other LockByEmail of this user waiting until the transaction ends.
	LockByEmail(ctx context.Context, email string) (User, error)
	// LockByID is LockByEmail by the id.
	LockByID(ctx context.Context, id string) (User, error)
	// Update stores everything but ID, AvatarURL and CreatedAt; of Email only the case of letters may change. It returns
	// [ErrUserNotFound] when there is none.
	Update(ctx context.Context, u User) error
}

// AdministeredRepository is what administering accounts needs of a [UserRepository]. Its methods need a transaction in ctx.
type AdministeredRepository interface {
	// ByEmail, LockByID and Update are those of [UserRepository].
	ByEmail(ctx context.Context, email string) (User, error)
	LockByID(ctx context.Context, id string) (User, error)
	Update(ctx context.Context, u User) error
	// LockAdmins returns the administrators, and keeps every other LockAdmins waiting until the transaction ends. It comes
	// before every other lock of a user.
	LockAdmins(ctx context.Context) ([]User, error)
	// Delete hides the user from every other method, and frees the address. It returns [ErrUserNotFound] when there is none.
	Delete(ctx context.Context, id string, now time.Time) error
}

// ErasureRepository finds users who were deleted, and erases what this domain holds of them. All but Due need a
// transaction in ctx.
type ErasureRepository interface {
	// Due returns up to limit users who were deleted at then or before and are not marked as erased, those deleted first
	// first, and behind after.
	Due(ctx context.Context, then time.Time, after DeletedUser, limit int) ([]DeletedUser, error)
	// LockDue holds a user until the transaction ends. Until is zero while nobody else has the address, or has had it since.
	// ok is false when another transaction holds the user, or they are marked.
	LockDue(ctx context.Context, id string) (u DeletedUser, ok bool, err error)
	// Erase removes everything but the id and the times of a user.
	Erase(ctx context.Context, u DeletedUser) error
	// MarkErased reports whether the user was not marked before.
	MarkErased(ctx context.Context, id string, now time.Time) (bool, error)
}

// DataEraser erases what another domain holds of a user who was deleted. What has come for the address since Until is
// another's, and stays. It may be called again.
type DataEraser interface {
	EraseUser(ctx context.Context, u DeletedUser) error
}

// SubscriptionEnder ends what a user holds.
type SubscriptionEnder interface {
	// EndSubscription cancels the live subscription of a user, and publishes that, in the transaction of ctx. It does nothing
	// for a user who has none. actorID is who deletes the user: the user, an administrator, or with "" an operator.
	EndSubscription(ctx context.Context, userID, actorID string) error
}

// UserDirectory lists users, and stores what they say of themselves. Users that were deleted are not in it.
type UserDirectory interface {
	// ByID returns [ErrUserNotFound] when there is none.
	ByID(ctx context.Context, id string) (User, error)
	// List returns the users that f selects, the newest first, and how many there are without its Limit and Offset.
	List(ctx context.Context, f UserFilter) (users []User, total int, err error)
	// UpdateProfile changes what p has set, and returns the user. It returns [ErrUserNotFound] when there is none.
	UpdateProfile(ctx context.Context, id string, p Profile, now time.Time) (User, error)
}

// InvitedRepository stores users who were created for an address its owner has not proven yet. Every method takes part in
// the transaction of ctx.
type InvitedRepository interface {
	// CreateInvited creates users, inactive and without a password, and returns the addresses of those it created: it
	// passes over every address that a live user has, and waits for registrations that are under way. It needs a
	// transaction.
	CreateInvited(ctx context.Context, users []User) (created []string, err error)
	// DeleteInvited deletes those of the users who are still [User.Invited], under their locks, and returns how many.
	DeleteInvited(ctx context.Context, ids []string, now time.Time) (int64, error)
	// EraseInvited removes those of the users whom DeleteInvited has deleted.
	EraseInvited(ctx context.Context, ids []string) error
}

// CodeRequestRepository stores requests for codes, and by which browsers they were made. Every method takes part in the
// transaction of ctx; those that change something need one.
type CodeRequestRepository interface {
	// OfAddress returns the requests for an address, the newest code first, and keeps every other OfAddress and OfBrowser of
	// them waiting until the transaction ends.
	OfAddress(ctx context.Context, email string, purpose Purpose) ([]CodeRequest, error)
	// OfBrowser is OfAddress for the requests that one of the browsers has made or was bound to.
	OfBrowser(ctx context.Context, email string, purpose Purpose, browsers [][]byte) ([]CodeRequest, error)
	// Bound reports, without waiting or locking, whether OfBrowser would return any.
	Bound(ctx context.Context, email string, purpose Purpose, browsers [][]byte) (bool, error)
	// OfPassword returns, without waiting or locking, the requests for a verification of an address whose PasswordTag is one
	// of tags. One whose code has been used is not among them: its password is the user's, or was.
	OfPassword(ctx context.Context, email string, tags []uint16) ([]CodeRequest, error)
	// ByEvent returns the request whose newest code the event carries, locked as by OfAddress where ctx has a
	// transaction, or [ErrCodeNotFound].
	ByEvent(ctx context.Context, eventID string) (CodeRequest, error)
	// Save stores r in place of the request with its id.
	Save(ctx context.Context, r CodeRequest) error
	// Bind lets a browser spend the codes of a request.
	Bind(ctx context.Context, requestID string, browser []byte) error
	// Delete removes requests.
	Delete(ctx context.Context, ids []string) error
	// PurgeOlderThan removes requests whose last code was asked for before then, and returns how many.
	PurgeOlderThan(ctx context.Context, then time.Time) (int64, error)
}

// Guard limits what can be tried for an address, so that no stranger fills a limit at its owner's cost. Its methods cost
// the same whether the address is known or not, and are called before anything is looked up.
type Guard interface {
	// Login counts a try at the password of the address from the client's network, before the password is compared, or
	// returns an error that says when to try again. Of many at once no more pass than one after the other.
	Login(ctx context.Context, email string, c Client) error
	// LoginSucceeded ends the counting: the password opens a session.
	LoginSucceeded(ctx context.Context, email string, c Client) error
	// LoginUndone takes back what Login has counted: no password was compared, or it was right and opens no session.
	LoginUndone(ctx context.Context, email string, c Client) error
	// Send counts a code that is about to be made, in the transaction of ctx, which keeps every other Send for the address
	// waiting. It returns [ErrTooSoon], or an error that says when to try again.
	Send(ctx context.Context, email string, c Client, kind SendKind) error
	// MaySend returns what Send would, and counts nothing. It is for who has work to do before.
	MaySend(ctx context.Context, email string, c Client, kind SendKind) error
	// Known returns those of the networks that have logged in to the account of the address.
	Known(ctx context.Context, email string, networks ...string) ([]string, error)
	// CodeFailed and CodeSucceeded count what became of a code.
	CodeFailed(ctx context.Context, email string) error
	CodeSucceeded(ctx context.Context, email string) error
}

// LimitRepository stores limits, by [CodeKeys.LimitDigests]: under the first, and found under each. Every method takes
// part in the transaction of ctx.
type LimitRepository interface {
	// Find returns those of the limits that are stored.
	Find(ctx context.Context, digests [][]byte, keys ...LimitKey) (map[LimitKey]Limit, error)
	// Lock returns the limits, zero ones for those that are not stored, and keeps every other Lock of them waiting until the
	// transaction ends.
	Lock(ctx context.Context, digests [][]byte, now time.Time, keys ...LimitKey) (map[LimitKey]Limit, error)
	// Save stores limits that were locked.
	Save(ctx context.Context, digests [][]byte, limits map[LimitKey]Limit) error
	// Forget removes limits.
	Forget(ctx context.Context, digests [][]byte, keys ...LimitKey) error
	// Know makes a network known, and writes that once a day.
	Know(ctx context.Context, digests [][]byte, network string, now time.Time) error
	// Purge removes limits whose last try is older than LimitKept, networks that are no longer known, and returns how many.
	Purge(ctx context.Context, now time.Time) (int64, error)
	LimitEraser
}

// LimitEraser erases what was tried for an address.
type LimitEraser interface {
	// Erase removes all limits in which nothing has been counted since then.
	Erase(ctx context.Context, digests [][]byte, then time.Time) error
}

// NoticeRepository stores which notice a user was sent last.
type NoticeRepository interface {
	// Claim reports whether the notice of eventID is to be sent: no other has been claimed for the user since. It may be
	// claimed again by the same event.
	Claim(ctx context.Context, userID, eventID string, now, since time.Time) (bool, error)
	// PurgeOlderThan removes claims, and returns how many.
	PurgeOlderThan(ctx context.Context, then time.Time) (int64, error)
}

// SendKind is why a code is made.
type SendKind string

// The kinds.
const (
	SendRegistration SendKind = "registration"
	SendResend       SendKind = "resend"
	SendReplacement  SendKind = "replacement" // of a code that wrong tries have ended
	SendReset        SendKind = "reset"
)

// PasswordHasher turns passwords into hashes, a bounded number at a time. Never call it in a transaction. The clients of
// its contexts take turns, so that one with many requests does not keep another waiting; see password.WithClient.
type PasswordHasher interface {
	// Hash returns [ErrBusy], mostly at once and with the time after which to try again, when it would have to wait too long.
	Hash(ctx context.Context, password string) (string, error)
	// Verify reports whether password made hash. An empty hash costs the same time and is never right. outdated says that
	// the hash should be replaced by a new Hash of the same password. Verify returns [ErrBusy] as Hash does.
	Verify(ctx context.Context, hash, password string) (ok, outdated bool, err error)
}

// Token is a signed access token and how long the cookie that carries it shall live.
type Token struct {
	Value    string
	Lifetime time.Duration
}

// TokenIssuer signs and checks access tokens (docs/compatibility.md).
type TokenIssuer interface {
	// Issue returns a token of a session of the user.
	Issue(u User, sessionID string, issuedAt, expiresAt time.Time) (string, error)
	// Check returns [ErrUnauthenticated] for everything but a valid, unexpired access token that bears our signature.
	Check(token string) (Claims, error)
	// CheckExpired is Check that takes a token which has expired as well.
	CheckExpired(token string) (Claims, error)
}

// Identifier finds the user a valid token belongs to. It is the one look-up that authenticates a request.
type Identifier interface {
	// Identify returns the user as stored now, whatever the token says of them, and stores that the session is in use. It
	// returns [ErrUnauthenticated] when the session has ended, or the account is gone or not active.
	Identify(ctx context.Context, claims Claims) (Identity, error)
}

// SessionRepository stores sessions. Every method takes part in the transaction of ctx.
type SessionRepository interface {
	// Create stores a session. The transaction holds the lock of its user, or ends before it takes others.
	Create(ctx context.Context, s Session) error
	// Find returns a session with its user in one read. It returns [ErrSessionNotFound] when there is none, or the user was
	// deleted.
	Find(ctx context.Context, id string) (Session, User, error)
	// Lock is Find that keeps every other change of the session waiting until the transaction ends. It needs one.
	Lock(ctx context.Context, id string) (Session, User, error)
	// Seen stores that a token of the session was presented now.
	Seen(ctx context.Context, id string, now, issuedAt time.Time) error
	// EndTokens ends the sessions of tokens, of an expired one only while no newer one of its session has been presented.
	EndTokens(ctx context.Context, tokens []Claims, now time.Time) error
	// End ends a session of the user. It returns [ErrSessionNotFound] when the user has no such session that is not over.
	End(ctx context.Context, userID, id string, now time.Time) error
	// EndOthers ends every session of the user but one; with "" every one.
	EndOthers(ctx context.Context, userID, exceptID string, now time.Time) error
	// EndAll ends every session there is, and every token that belongs to none, and returns how many sessions. It needs a
	// transaction.
	EndAll(ctx context.Context, now time.Time) (int64, error)
	// List returns up to limit sessions of the user that nobody has ended and that have not expired, the one used last
	// first.
	List(ctx context.Context, userID string, now time.Time, limit int) ([]Session, error)
	// PurgeOlderThan removes sessions that were over, and last used, before then. It returns how many.
	PurgeOlderThan(ctx context.Context, then time.Time) (int64, error)
}

// TrialStarter starts a user's trial in the transaction of ctx, unless a user with the address has had one before.
type TrialStarter interface {
	StartTrial(ctx context.Context, userID, email string) error
}
