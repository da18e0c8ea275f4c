package usecase

import (
	"cmp"
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
)

// nobody is the id under which an unknown address is looked up, so that it takes nearly the same statements as a known
// one: only the write of a wrong try is missing. Registering an address reveals more.
var nobody = uuid.Nil.String()

// Verify spends a code: it activates the user and starts the trial in the transaction that marks the code used, and
// opens a session. It returns ErrInvalidEmail, ErrWrongCode (also for an unknown address and for a user without a
// code), ErrCodeExpired, ErrTooManyTries, or – to the right code only – ErrAlreadyVerified.
func (uc *UseCase) Verify(ctx context.Context, email, digits string) (authentication.Login, error) {
	email, err := authentication.TypedEmail(email)
	if err != nil {
		return authentication.Login{}, err
	}
	var user authentication.User
	var refusal error // kept apart from the transaction's error: what the try has cost is committed first
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) (err error) {
		user, refusal, err = uc.spendCode(ctx, email, digits)
		return err
	})
	// An error comes first: a try that could not be counted reveals nothing about the code.
	if err := cmp.Or(err, refusal); err != nil {
		return authentication.Login{}, err
	}
	return uc.openSession(user, false)
}

// spendCode returns either the activated user, or why the code is refused, or an error that rolls back.
func (uc *UseCase) spendCode(ctx context.Context, email, digits string) (u authentication.User, refusal, err error) {
	user, err := uc.deps.Users.LockByEmail(ctx, email)
	if errors.Is(err, authentication.ErrUserNotFound) {
		user.ID, err = nobody, nil
	}
	if err != nil {
		return authentication.User{}, nil, err
	}
	now := uc.deps.Clock.Now()
	digest := uc.deps.CodeKey.Digest(authentication.PurposeVerification, user.ID, digits)
	code, err := uc.deps.Codes.Find(ctx, user.ID, authentication.PurposeVerification)
	if errors.Is(err, authentication.ErrCodeNotFound) {
		return authentication.User{}, authentication.ErrWrongCode, nil
	}
	if err != nil {
		return authentication.User{}, nil, err
	}
	refusal = code.Try(digest, now)
	if err := uc.deps.Codes.Save(ctx, code); err != nil {
		return authentication.User{}, nil, err
	}
	if refusal == nil && user.Active { // by something else than this code, as an invitation
		refusal = authentication.ErrAlreadyVerified
	}
	if refusal != nil {
		return authentication.User{}, refusal, nil
	}
	user.Active = true
	user.UpdatedAt = now
	if err := uc.deps.Users.Update(ctx, user); err != nil {
		return authentication.User{}, nil, err
	}
	return user, nil, uc.deps.Trials.StartTrial(ctx, user.ID, user.Email)
}
