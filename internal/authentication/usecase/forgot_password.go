package usecase

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/apperror"
)

// maxEmailBytes is the longest address a user can have, in users.username. No longer one is stored with a request.
const maxEmailBytes = 255

// ForgotPassword has a code mailed with which this browser can set a new password, and returns the value that names the
// browser. It returns no error for any state of the address, not even for too many codes: only ErrInvalidEmail, and what
// the database returns. The mail makes the one difference there is, so the caller hides how long this took.
func (uc *UseCase) ForgotPassword(
	ctx context.Context, email string, client authentication.Client,
) (browser string, err error) {
	email, err = authentication.TypedEmail(email)
	if err != nil {
		return "", err
	}
	if len(email) > maxEmailBytes {
		return "", authentication.ErrInvalidEmail
	}
	browser = client.Browser()
	now := uc.deps.Clock.Now()
	request := authentication.CodeRequest{
		ID:        uuid.Must(uuid.NewV7()).String(),
		Purpose:   authentication.PurposeReset,
		Email:     email,
		Locale:    client.Locale,
		Network:   client.Network(),
		CreatedAt: now,
	}
	err = uc.deps.Guard.MaySend(ctx, email, client, authentication.SendReset)
	if err == nil {
		err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error { return uc.forgot(ctx, request, client, browser) })
	}
	if errors.Is(err, authentication.ErrTooSoon) || err != nil && apperror.KindOf(err) == apperror.RateLimited {
		err = nil
	}
	return browser, err
}

// forgot counts the request and stores it.
func (uc *UseCase) forgot(
	ctx context.Context, request authentication.CodeRequest, client authentication.Client, browser string,
) error {
	email := request.Email
	if err := uc.deps.Guard.Send(ctx, email, client, authentication.SendReset); err != nil {
		return err
	}
	user, err := uc.deps.Users.LockByEmail(ctx, email)
	if err != nil && !errors.Is(err, authentication.ErrUserNotFound) {
		return err
	}
	return uc.request(ctx, request, user, browser)
}
