package usecase

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
)

// Register stores a request for a code that proves the address, with the password its owner gets once it is proved, and
// has the code mailed, in one commit. It returns the value that names the browser. A new address also gets a user, who is
// not active. Nothing that others have stored for the address is touched.
//
// An address whose user is active gets a request like any other, and its owner a notice in place of the code: the
// result, the statements and the time are the same, and nobody learns who has an account. Register returns
// ErrInvalidEmail, ErrBody (password), ErrBusy, an error of the Guard, or of [authentication.MakeRoom].
func (uc *UseCase) Register(
	ctx context.Context, c authentication.Credentials, client authentication.Client,
) (browser string, err error) {
	email, err := authentication.ParseEmail(c.Email)
	if err != nil {
		return "", err
	}
	if err := uc.deps.PasswordRules.Check(c.Password, email); err != nil {
		return "", err
	}
	if err := uc.deps.Guard.MaySend(ctx, email, client, authentication.SendRegistration); err != nil {
		return "", err
	}
	hash, err := uc.deps.Passwords.Hash(ctx, c.Password)
	if err != nil {
		return "", err
	}
	browser = client.Browser()
	now := uc.deps.Clock.Now()
	user := authentication.User{
		ID:        uuid.Must(uuid.NewV7()).String(),
		Email:     email,
		Role:      authentication.RoleUser,
		Locale:    client.Locale,
		CreatedAt: now,
		UpdatedAt: now,
	}
	request := authentication.CodeRequest{
		ID:           uuid.Must(uuid.NewV7()).String(),
		Purpose:      authentication.PurposeVerification,
		Email:        email,
		Locale:       client.Locale,
		Network:      client.Network(),
		PasswordHash: hash,
		PasswordTag:  uc.deps.CodeKeys.PasswordTags(email, c.Password)[0],
		CreatedAt:    now,
	}
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if err := uc.deps.Guard.Send(ctx, email, client, authentication.SendRegistration); err != nil {
			return err
		}
		owner, err := uc.createOrLock(ctx, user)
		if err != nil {
			return err
		}
		return uc.request(ctx, request, owner, browser)
	})
	return browser, err
}

// createOrLock returns the user of an address, locked: user, or who was there. One who was there can be purged while their
// lock is waited for.
func (uc *UseCase) createOrLock(ctx context.Context, user authentication.User) (owner authentication.User, err error) {
	for range 2 {
		if err := uc.deps.Users.Create(ctx, user); err != nil {
			return authentication.User{}, err
		}
		owner, err = uc.deps.Users.LockByEmail(ctx, user.Email)
		if !errors.Is(err, authentication.ErrUserNotFound) {
			break
		}
	}
	return owner, err
}

// request stores a new request, which pushes out what [authentication.MakeRoom] says, and has its code mailed. The caller
// holds the lock of the user, if there is one.
func (uc *UseCase) request(
	ctx context.Context, r authentication.CodeRequest, user authentication.User, browser string,
) error {
	others, err := uc.deps.Requests.OfAddress(ctx, r.Email, r.Purpose)
	if err != nil {
		return err
	}
	networks := []string{r.Network}
	for _, o := range others {
		networks = append(networks, o.Network)
	}
	known, err := uc.deps.Guard.Known(ctx, r.Email, networks...)
	if err != nil {
		return err
	}
	out, err := authentication.MakeRoom(others, r.Network, known, r.CreatedAt)
	if err != nil {
		return err
	}
	ids := make([]string, len(out))
	for i, o := range out {
		ids[i] = o.ID
	}
	if err := uc.deps.Requests.Delete(ctx, ids); err != nil {
		return err
	}
	r.UserID = user.ID
	if err := uc.issueCode(ctx, r, user, r.Locale, r.CreatedAt); err != nil {
		return err
	}
	return uc.bind(ctx, r.ID, browser)
}

// bind lets the browser that value names spend the codes of a request.
func (uc *UseCase) bind(ctx context.Context, requestID, value string) error {
	digest, _ := authentication.BrowserDigest(value) // made by Client.Browser
	return uc.deps.Requests.Bind(ctx, requestID, digest)
}
