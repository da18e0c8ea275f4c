package usecase

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// ResetPassword spends a code that this browser has asked for, and makes the password that of the user. Every session of
// theirs ends, and they are told by mail. The code proves the address as well: a user who is not active becomes active as
// by [UseCase.Verify]. It opens a session.
//
// It returns ErrInvalidEmail, ErrBody (password), ErrBusy, and for the code what Verify returns: ErrAlreadyVerified when the
// right code is sent again, which changes nothing.
func (uc *UseCase) ResetPassword(
	ctx context.Context, email, digits, password string, client authentication.Client,
) (authentication.Login, error) {
	email, err := authentication.TypedEmail(email)
	if err != nil {
		return authentication.Login{}, err
	}
	if err := uc.deps.PasswordRules.Check(password, email); err != nil {
		return authentication.Login{}, err
	}
	if err := uc.asked(ctx, email, authentication.PurposeReset, client); err != nil {
		return authentication.Login{}, err
	}
	hash, err := uc.deps.Passwords.Hash(ctx, password)
	if err != nil {
		return authentication.Login{}, err
	}
	var login authentication.Login
	var refusal error // as in Verify
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, why, err := uc.reset(ctx, email, digits, hash, client)
		if refusal = why; err != nil || refusal != nil {
			return err
		}
		login, err = uc.openSession(ctx, user, false, client)
		return err
	})
	if err == nil {
		err = uc.countCode(ctx, email, refusal, client)
	}
	if err != nil {
		return authentication.Login{}, err
	}
	return login, nil
}

// reset returns either the user, or why the code is refused, or an error that rolls back.
func (uc *UseCase) reset(
	ctx context.Context, email, digits, hash string, client authentication.Client,
) (u authentication.User, refusal, err error) {
	user, err := uc.deps.Users.LockByEmail(ctx, email)
	known := err == nil
	if err != nil && !errors.Is(err, authentication.ErrUserNotFound) {
		return authentication.User{}, nil, err
	}
	now := uc.deps.Clock.Now()
	spent, refusal, err := uc.spendCode(ctx, email, authentication.PurposeReset, digits, client, now)
	used := errors.Is(refusal, authentication.ErrAlreadyVerified)
	// Nobody was mailed the code of an unknown address, and none is good for a disabled account.
	if err == nil && (!known || user.Disabled()) && (refusal == nil || used) {
		refusal = authentication.ErrWrongCode
	}
	if err != nil || refusal != nil {
		return authentication.User{}, refusal, err
	}
	user.TokensValidAfter = now
	if user.Active {
		user.PasswordHash, user.UpdatedAt = hash, now
		err = uc.deps.Users.Update(ctx, user)
	} else {
		user, err = uc.activate(ctx, user, user.Email, hash, cmp.Or(user.Locale, client.Locale), now)
	}
	if err != nil {
		return authentication.User{}, nil, err
	}
	if err := endResets(ctx, uc.deps.Requests, email, spent.ID); err != nil {
		return authentication.User{}, nil, err
	}
	if err := uc.endSessions(ctx, user, ""); err != nil {
		return authentication.User{}, nil, err
	}
	if err := uc.record(ctx, audit.UserPasswordReset, user.ID); err != nil {
		return authentication.User{}, nil, err
	}
	return user, nil, uc.notify(ctx, user, event.NoticePasswordReset, now)
}

// endResets ends the codes for a new password that an address still has, but for the request with the id spent: a
// person who has read one of them could undo what its owner has just done. The caller holds the lock of the user.
func endResets(ctx context.Context, stored authentication.CodeRequestRepository, email, spent string) error {
	requests, err := stored.OfAddress(ctx, email, authentication.PurposeReset)
	if err != nil {
		return err
	}
	var ids []string
	for _, r := range requests {
		if r.ID != spent {
			ids = append(ids, r.ID)
		}
	}
	return stored.Delete(ctx, ids)
}

// notify has the user told what was done to their account, in case it was not they who did it.
func (uc *UseCase) notify(ctx context.Context, user authentication.User, kind string, now time.Time) error {
	return uc.deps.Events.Publish(ctx, securityNotice(user, kind, now))
}

func securityNotice(user authentication.User, kind string, now time.Time) event.Event {
	return event.Event{
		ID:   event.NewID(),
		Key:  event.EmailSecurityNoticeRequested,
		Time: now,
		Data: event.SecurityNotice{
			UserID:     user.ID,
			Recipient:  user.Email,
			Locale:     cmp.Or(user.Locale, "en"),
			Kind:       kind,
			OccurredAt: now,
		},
	}
}
