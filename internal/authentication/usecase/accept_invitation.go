package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// Accept spends an invitation: it sets the password, activates the user and starts the trial in the transaction that
// marks the invitation accepted, and logs him in. Of two at once exactly one succeeds.
//
// It answers ErrBody (password), ErrBusy, ErrInvitationInvalid (also when it was cancelled, or its user is gone),
// ErrInvitationExpired, or ErrInvitationUsed – also for somebody who has meanwhile registered by himself.
func (uc *Invitations) Accept(ctx context.Context, token, password string) (authentication.Session, error) {
	if err := authentication.CheckPassword(password); err != nil {
		return authentication.Session{}, err
	}
	digest, err := uc.CodeKey.InvitationDigest(token)
	if err != nil {
		return authentication.Session{}, err
	}
	// Looked at before the password is hashed: that is what a request costs most, and guesses shall not have it.
	i, err := found(uc.Invitations.ByDigest(ctx, digest))
	if err != nil {
		return authentication.Session{}, err
	}
	if err := i.Usable(uc.Clock.Now()); err != nil {
		return authentication.Session{}, err
	}
	hash, err := uc.Passwords.Hash(ctx, password)
	if err != nil {
		return authentication.Session{}, err
	}
	var user authentication.User
	err = uc.Tx.WithinTx(ctx, func(ctx context.Context) (err error) {
		user, err = uc.accept(ctx, digest, hash)
		return err
	})
	if err != nil {
		return authentication.Session{}, err
	}
	signed, err := uc.Tokens.Issue(user, false)
	if err != nil {
		return authentication.Session{}, err
	}
	return authentication.Session{User: user, Token: signed}, nil
}

// accept takes the invitation's lock before the user's, as Cancel does.
func (uc *Invitations) accept(ctx context.Context, digest []byte, hash string) (authentication.User, error) {
	i, err := found(uc.Invitations.LockByDigest(ctx, digest))
	if err != nil {
		return authentication.User{}, err
	}
	now := uc.Clock.Now()
	if err := i.Accept(now); err != nil {
		return authentication.User{}, err
	}
	user, err := uc.Users.LockByID(ctx, i.UserID)
	if errors.Is(err, authentication.ErrUserNotFound) {
		return authentication.User{}, authentication.ErrInvitationInvalid
	}
	if err != nil {
		return authentication.User{}, err
	}
	if user.Active { // by a code: this token must not replace the password he has chosen
		return authentication.User{}, authentication.ErrInvitationUsed
	}
	user.PasswordHash, user.Active, user.UpdatedAt = hash, true, now
	if err := uc.Users.Update(ctx, user); err != nil {
		return authentication.User{}, err
	}
	if err := uc.Invitations.Save(ctx, i); err != nil {
		return authentication.User{}, err
	}
	return user, uc.Trials.StartTrial(ctx, user.ID)
}

// found tells people nothing about what is not there.
func found(i authentication.Invitation, err error) (authentication.Invitation, error) {
	if errors.Is(err, authentication.ErrInvitationNotFound) {
		err = authentication.ErrInvitationInvalid
	}
	return i, err
}
