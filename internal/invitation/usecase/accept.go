package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/invitation"
)

// Accept spends an invitation: one transaction marks it accepted, stores the password of its account, activates it and
// starts its trial. Accept returns a session of that account. Of two calls at once exactly one succeeds.
//
// It returns what CheckPassword returns for the invited address, what Hash returns, ErrInvalid (also when it was
// cancelled, or its account is gone), ErrExpired, or ErrUsed, also when the owner of the address has registered meanwhile.
func (uc *UseCase) Accept(
	ctx context.Context, token, password string, client invitation.Client,
) (invitation.Session, error) {
	digests, err := uc.deps.TokenKeys.Digests(token)
	if err != nil {
		return invitation.Session{}, err
	}
	// Hashing is what a request costs most: a guessed token must not get that far.
	i, err := uc.deps.Invitations.ByDigest(ctx, digests...)
	if err != nil {
		return invitation.Session{}, hideNotFound(err)
	}
	if err := i.Usable(uc.deps.Clock.Now()); err != nil {
		return invitation.Session{}, err
	}
	owner, err := uc.deps.Owners.Account(ctx, i.UserID)
	if errors.Is(err, invitation.ErrAccountNotFound) {
		err = invitation.ErrInvalid
	}
	if err != nil {
		return invitation.Session{}, err
	}
	if err := uc.deps.CheckPassword(password, owner.Email); err != nil {
		return invitation.Session{}, err
	}
	hash, err := uc.deps.Passwords.Hash(ctx, password)
	if err != nil {
		return invitation.Session{}, err
	}
	var session invitation.Session
	err = uc.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		i, err := uc.deps.Invitations.LockByDigest(ctx, digests...)
		if err != nil {
			return hideNotFound(err)
		}
		if err := i.Accept(uc.deps.Clock.Now()); err != nil {
			return err
		}
		if session, err = uc.deps.Activator.Activate(ctx, i.UserID, hash, client); err != nil {
			return err
		}
		return uc.deps.Invitations.Save(ctx, i)
	})
	if err != nil {
		return invitation.Session{}, err
	}
	return session, nil
}

// hideNotFound turns ErrNotFound into ErrInvalid: a client learns nothing about what does not exist.
func hideNotFound(err error) error {
	if errors.Is(err, invitation.ErrNotFound) {
		return invitation.ErrInvalid
	}
	return err
}
