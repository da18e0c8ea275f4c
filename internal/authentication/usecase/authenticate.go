package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// proven is what a password turned out to belong to: a request for a code, or else a user.
type proven struct {
	user     authentication.User
	outdated bool // the user's hash should be made anew
	request  *authentication.CodeRequest
	tag      uint16 // of the password
}

// email returns the address as it is stored.
func (p *proven) email() string {
	if p.request != nil {
		return p.request.Email
	}
	return p.user.Email
}

// authenticate returns what these credentials belong to: the user, whether active or not, or a request whose code has
// not been spent. An unknown address and a wrong password are the same ErrWrongPassword, after the same statements and
// one verification each; only a hash of the previous release takes another time, until it is replaced.
//
// The try is counted before, and stays counted when a password turned out to be wrong. The caller says what has become of
// any other.
func (uc *UseCase) authenticate(
	ctx context.Context, c authentication.Credentials, client authentication.Client,
) (found proven, err error) {
	email, err := authentication.TypedEmail(c.Email)
	if err != nil {
		return proven{}, err
	}
	if err := uc.deps.Guard.Login(ctx, email, client); err != nil {
		return proven{}, err
	}
	found, compared, err := uc.prove(ctx, email, c.Password)
	if err != nil && !compared {
		uc.undoLogin(ctx, email, client)
	}
	return found, err
}

// undoLogin takes back a try that was none. Nothing is lost by an error: what has been counted counts on.
func (uc *UseCase) undoLogin(ctx context.Context, email string, client authentication.Client) {
	_ = uc.deps.Guard.LoginUndone(ctx, email, client)
}

// prove is authenticate without counting. compared reports whether the password was compared with the user's.
func (uc *UseCase) prove(ctx context.Context, email, password string) (found proven, compared bool, err error) {
	user, err := uc.deps.Users.ByEmail(ctx, email)
	if err != nil && !errors.Is(err, authentication.ErrUserNotFound) {
		return proven{}, false, err
	}
	known := err == nil // if not, the hash is empty: that costs the same and is never right
	tags := uc.deps.CodeKeys.PasswordTags(email, password)
	found.tag = tags[0]
	requests, err := uc.deps.Requests.OfPassword(ctx, email, tags)
	if err != nil {
		return proven{}, false, err
	}
	ok, outdated, err := uc.deps.Passwords.Verify(ctx, user.PasswordHash, password)
	if err != nil {
		return proven{}, false, err
	}
	if known && ok {
		found.user, found.outdated = user, outdated
		if user.Active || user.Disabled() {
			return found, true, nil
		}
	}
	for i := range requests {
		ok, _, err := uc.deps.Passwords.Verify(ctx, requests[i].PasswordHash, password)
		if err != nil { // it was wrong for the user all the same
			return proven{}, true, err
		}
		if ok {
			found.request = &requests[i]
			return found, true, nil
		}
	}
	if found.user.ID != "" {
		return found, true, nil
	}
	return proven{}, true, authentication.ErrWrongPassword
}
