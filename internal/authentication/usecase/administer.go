package usecase

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// AdministrationDeps are the dependencies of an [Administration]. All are required.
type AdministrationDeps struct {
	Tx            authentication.Transactor
	Users         authentication.AdministeredRepository
	Requests      authentication.CodeRequestRepository
	Sessions      authentication.SessionRepository
	Subscriptions authentication.SubscriptionEnder
	Events        event.Publisher
	Audit         audit.Recorder
	Clock         authentication.Clock
	// EraseAfter is the time from the deletion of an account to the erasure of its data.
	EraseAfter time.Duration
}

// Administration has what administrators, and operators on the command line, do to the accounts of others: one file per
// verb. It is safe for concurrent use.
//
// Every verb holds the locks of all administrators, so that of two at once only one can remove the last but one: an active
// administrator is left, whatever happens. An administrator who was demoted or disabled a moment ago changes nothing more.
type Administration struct{ deps AdministrationDeps }

// NewAdministration returns an [Administration].
func NewAdministration(d AdministrationDeps) *Administration { return &Administration{d} }

// Find returns the user with an address for an operator. It returns ErrInvalidEmail or ErrUserNotFound.
func (a *Administration) Find(ctx context.Context, email string) (authentication.User, error) {
	email, err := authentication.TypedEmail(email)
	if err != nil {
		return authentication.User{}, err
	}
	return a.deps.Users.ByEmail(ctx, email)
}

// administered is a user under their lock, with the administrators who can do something.
type administered struct {
	authentication.User
	admins []authentication.User
}

// last reports whether nobody could administer without the user.
func (a *administered) last() bool {
	return a.Role == authentication.RoleAdmin && a.Admitted() &&
		!slices.ContainsFunc(a.admins, func(u authentication.User) bool { return u.ID != a.ID })
}

// change runs fn in a transaction, on the user as they are under their lock. It returns ErrForbidden unless the actor is an
// administrator, ErrNoUser, or ErrProfile for a reason that cannot be stored.
func (a *Administration) change(
	ctx context.Context, actor authentication.Actor, userID, reason string,
	fn func(ctx context.Context, user *administered, now time.Time) error,
) (authentication.User, error) {
	if !actor.Admin {
		return authentication.User{}, authentication.ErrForbidden
	}
	if err := checkReason(reason); err != nil {
		return authentication.User{}, err
	}
	var user administered
	err := a.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) (err error) {
		if user, err = a.lock(ctx, userID); err != nil {
			return err
		}
		may := func(u authentication.User) bool { return u.ID == actor.UserID }
		if actor.UserID != "" && !slices.ContainsFunc(user.admins, may) {
			return authentication.ErrForbidden
		}
		return fn(ctx, &user, a.deps.Clock.Now())
	})
	if errors.Is(err, authentication.ErrUserNotFound) {
		err = authentication.ErrNoUser
	}
	if err != nil {
		return authentication.User{}, err
	}
	return user.User, nil
}

// lock locks the administrators, and then the user.
func (a *Administration) lock(ctx context.Context, userID string) (user administered, err error) {
	admins, err := a.deps.Users.LockAdmins(ctx)
	if err != nil {
		return administered{}, err
	}
	user.admins = slices.DeleteFunc(admins, func(u authentication.User) bool { return !u.Admitted() })
	user.User, err = a.deps.Users.LockByID(ctx, userID)
	return user, err
}

const maxReason = 500 // characters

// checkReason returns ErrProfile for a reason that cannot be stored. It may have several lines.
func checkReason(reason string) error {
	var problem string
	switch {
	case utf8.RuneCountInString(reason) > maxReason:
		problem = "must have at most 500 characters"
	case strings.ContainsFunc(reason, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }):
		problem = "must not have control characters"
	default:
		return nil
	}
	return authentication.ErrProfile.WithFields(map[string]string{"reason": problem})
}

// record writes what was done to the user.
func (a *Administration) record(
	ctx context.Context, actor authentication.Actor, action audit.Action, userID, reason string,
) error {
	return a.deps.Audit.Record(ctx, audit.Entry{
		Action:  action,
		ActorID: actor.UserID,
		UserID:  userID,
		Details: audit.Details{Reason: reason},
	})
}

// end ends every session of the user, and the codes with which a new password could be set.
func (a *Administration) end(ctx context.Context, user authentication.User, now time.Time) error {
	if err := endResets(ctx, a.deps.Requests, user.Email, ""); err != nil {
		return err
	}
	return a.deps.Sessions.EndOthers(ctx, user.ID, "", now)
}
