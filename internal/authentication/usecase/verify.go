package usecase

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// Verify spends a code of a request of this browser. In the transaction that marks the code used, the password of that
// request becomes the user's, the user becomes active and the trial starts. It opens a session.
//
// It returns ErrInvalidEmail; ErrOtherBrowser, also for an unknown address; ErrWrongCode, ErrCodeExpired or
// ErrTooManyTries; or – to the right code only – ErrAlreadyVerified.
func (uc *UseCase) Verify(
	ctx context.Context, email, digits string, client authentication.Client,
) (authentication.Login, error) {
	email, err := authentication.TypedEmail(email)
	if err != nil {
		return authentication.Login{}, err
	}
	if err := uc.asked(ctx, email, authentication.PurposeVerification, client); err != nil {
		return authentication.Login{}, err
	}
	var login authentication.Login
	var refusal error // kept apart from the transaction's error: what the try has cost is committed first
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, why, err := uc.verify(ctx, email, digits, client)
		if refusal = why; err != nil || refusal != nil {
			return err
		}
		login, err = uc.openSession(ctx, user, false, client)
		return err
	})
	if err == nil { // a try that could not be stored reveals nothing about the code
		err = uc.countCode(ctx, email, refusal, client)
	}
	if err != nil {
		return authentication.Login{}, err
	}
	return login, nil
}

// asked returns ErrOtherBrowser unless a browser of the client has asked for a code. It looks at nothing else and locks
// nothing: a lock of the user, which is there for some addresses only, would show in the time. Who has asked knows no more
// of an address than before, and whether they may spend the code is decided again under that lock.
func (uc *UseCase) asked(
	ctx context.Context, email string, purpose authentication.Purpose, client authentication.Client,
) error {
	bound, err := uc.deps.Requests.Bound(ctx, email, purpose, client.BrowserDigests())
	if err == nil && !bound {
		return authentication.ErrOtherBrowser
	}
	return err
}

// countCode tells the guard what became of a code, and returns the refusal unless that fails.
func (uc *UseCase) countCode(ctx context.Context, email string, refusal error, client authentication.Client) error {
	switch {
	case refusal == nil: // and committed: what is only counted must not undo that
		_ = errors.Join(uc.deps.Guard.CodeSucceeded(ctx, email), uc.deps.Guard.LoginSucceeded(ctx, email, client))
		return nil
	case errors.Is(refusal, authentication.ErrWrongCode):
		return cmp.Or(uc.deps.Guard.CodeFailed(ctx, email), refusal)
	}
	return refusal
}

// verify returns either the user who is active now, or why the code is refused, or an error that rolls back.
func (uc *UseCase) verify(
	ctx context.Context, email, digits string, client authentication.Client,
) (u authentication.User, refusal, err error) {
	user, err := uc.deps.Users.LockByEmail(ctx, email)
	if err != nil && !errors.Is(err, authentication.ErrUserNotFound) {
		return authentication.User{}, nil, err
	}
	now := uc.deps.Clock.Now()
	request, refusal, err := uc.spendCode(ctx, email, authentication.PurposeVerification, digits, client, now)
	if err == nil && user.Disabled() && (refusal == nil || errors.Is(refusal, authentication.ErrAlreadyVerified)) {
		refusal = authentication.ErrWrongCode // as if it had never been mailed
	}
	if err == nil && refusal == nil && user.Active { // the address has been proved in another way meanwhile
		refusal = authentication.ErrAlreadyVerified
	}
	if err != nil || refusal != nil {
		return authentication.User{}, refusal, err
	}
	user, err = uc.activate(ctx, user, request.Email, request.PasswordHash, request.Locale, now)
	return user, nil, err
}

// spendCode tries the digits on what the browsers of the client have asked for, and stores what became of it. The caller
// holds the lock of the user, if there is one.
func (uc *UseCase) spendCode(
	ctx context.Context, email string, purpose authentication.Purpose, digits string,
	client authentication.Client, now time.Time,
) (proved *authentication.CodeRequest, refusal, err error) {
	requests, err := uc.deps.Requests.OfBrowser(ctx, email, purpose, client.BrowserDigests())
	if err != nil {
		return nil, nil, err
	}
	proved, refusal = uc.deps.CodeKeys.TryDigits(requests, digits, now)
	for _, r := range requests {
		if err := uc.deps.Requests.Save(ctx, r); err != nil {
			return nil, nil, err
		}
	}
	return proved, refusal, nil
}

// activate makes the user of an address that has just been proved active, with this password, and starts the trial. A
// user who is gone, because they were purged or their invitation was cancelled, is created anew. Whatever password or
// spelling of the address was stored before is replaced: it was not theirs who proved the address. activate returns
// ErrAlreadyVerified when another proof of the address was first.
func (uc *UseCase) activate(
	ctx context.Context, user authentication.User, email, passwordHash, locale string, now time.Time,
) (authentication.User, error) {
	if user.ID == "" {
		created, err := uc.createOrLock(ctx, authentication.User{
			ID:        uuid.Must(uuid.NewV7()).String(),
			Email:     email,
			Role:      authentication.RoleUser,
			CreatedAt: now,
			UpdatedAt: now,
		})
		if err != nil {
			return authentication.User{}, err
		}
		user = created // or one of a registration that was first
		if user.Active || user.Disabled() {
			return authentication.User{}, authentication.ErrAlreadyVerified
		}
	}
	user.Email, user.PasswordHash = email, passwordHash
	user.Locale = cmp.Or(locale, user.Locale)
	user.Active, user.UpdatedAt = true, now
	if err := uc.deps.Users.Update(ctx, user); err != nil {
		return authentication.User{}, err
	}
	if err := uc.deps.Trials.StartTrial(ctx, user.ID, user.Email); err != nil {
		return authentication.User{}, err
	}
	if err := uc.record(ctx, audit.UserVerified, user.ID); err != nil {
		return authentication.User{}, err
	}
	return user, uc.deps.Events.Publish(ctx, event.Event{
		ID:   event.NewID(),
		Key:  event.UserVerified,
		Time: now,
		Data: event.UserVerifiedData{UserID: user.ID, OccurredAt: now},
	})
}

// record writes what users do to their own account.
func (uc *UseCase) record(ctx context.Context, action audit.Action, userID string) error {
	return uc.deps.Audit.Record(ctx, audit.Entry{Action: action, ActorID: userID, UserID: userID})
}
