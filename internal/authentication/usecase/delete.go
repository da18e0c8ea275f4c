package usecase

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// Delete deletes an account: its sessions and codes end, a live subscription is cancelled, and the address can be registered
// anew. The user is told by mail, if they have proven their address. Their data are erased after EraseAfter. Delete returns
// ErrForbidden, ErrNoUser, ErrLastAdmin, or ErrProfile for the reason.
func (a *Administration) Delete(
	ctx context.Context, actor authentication.Actor, userID, reason string,
) (authentication.User, error) {
	return a.change(ctx, actor, userID, reason, func(ctx context.Context, user *administered, now time.Time) error {
		return a.delete(ctx, actor, user, reason, now)
	})
}

// deleteOwn deletes the account of a user whose password has been verified. It returns ErrWrongPassword when theirs is no
// longer that one.
func (a *Administration) deleteOwn(ctx context.Context, verified authentication.User) error {
	return a.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, err := a.lock(ctx, verified.ID)
		if errors.Is(err, authentication.ErrUserNotFound) {
			return authentication.ErrUnauthenticated
		}
		if err != nil {
			return err
		}
		if !user.Admitted() || user.PasswordHash != verified.PasswordHash {
			return authentication.ErrWrongPassword
		}
		return a.delete(ctx, authentication.Actor{UserID: user.ID}, &user, "", a.deps.Clock.Now())
	})
}

func (a *Administration) delete(
	ctx context.Context, actor authentication.Actor, user *administered, reason string, now time.Time,
) error {
	if user.last() {
		return authentication.ErrLastAdmin
	}
	if err := a.end(ctx, user.User, now); err != nil {
		return err
	}
	if err := a.deps.Subscriptions.EndSubscription(ctx, user.ID, actor.UserID); err != nil {
		return err
	}
	if err := a.deps.Users.Delete(ctx, user.ID, now); err != nil {
		return err
	}
	user.UpdatedAt = now
	events := []event.Event{{
		ID:   event.NewID(),
		Key:  event.UserDeleted,
		Time: now,
		Data: event.UserDeletedData{UserID: user.ID, OccurredAt: now, EraseAt: now.Add(a.deps.EraseAfter)},
	}}
	if user.Active {
		events = append(events, securityNotice(user.User, event.NoticeAccountDeleted, now))
	}
	if err := a.deps.Events.Publish(ctx, events...); err != nil {
		return err
	}
	return a.record(ctx, actor, audit.UserDeleted, user.ID, reason)
}

// Deleter deletes the account of those who ask for it.
type Deleter struct {
	accounts  *Administration
	guard     authentication.Guard
	passwords authentication.PasswordHasher
}

// NewDeleter returns a [Deleter].
func NewDeleter(a *Administration, g authentication.Guard, p authentication.PasswordHasher) *Deleter {
	return &Deleter{a, g, p}
}

// DeleteOwn is [Administration.Delete] by the user, who types their password again. It returns ErrWrongPassword, which
// counts as for a login, ErrLastAdmin, ErrBusy, or an error of the Guard.
func (d *Deleter) DeleteOwn(
	ctx context.Context, user authentication.User, password string, client authentication.Client,
) error {
	if err := d.guard.Login(ctx, user.Email, client); err != nil {
		return err
	}
	ok, _, err := d.passwords.Verify(ctx, user.PasswordHash, password)
	if err == nil && !ok {
		return authentication.ErrWrongPassword
	}
	if err == nil {
		err = d.accounts.deleteOwn(ctx, user)
	}
	_ = d.guard.LoginUndone(ctx, user.Email, client) // the password was right, or was not compared
	return err
}
