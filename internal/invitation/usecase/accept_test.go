package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

func TestAccept(t *testing.T) {
	t.Parallel()
	const address = "invited@example.com"
	token, digest := tokenKey.NewToken()

	for name, tc := range map[string]struct {
		token, password string
		invitation      invitation.Invitation
		err             error
		owner, hashes   bool
		ownerErr        error
		want            error
	}{
		"an impossible token": {token: "guess", password: password, want: invitation.ErrInvalid},
		"a short password":    {token: token, password: "short", invitation: newInvitation(nil), owner: true, want: errPassword},
		"the address":         {token: token, password: address, invitation: newInvitation(nil), owner: true, want: errPassword},
		"both":                {token: "guess", password: "short", want: invitation.ErrInvalid},
		"a deleted account": {token: token, password: password, invitation: newInvitation(nil), owner: true,
			ownerErr: invitation.ErrAccountNotFound, want: invitation.ErrInvalid},
		"a broken table": {token: token, password: password, invitation: newInvitation(nil), owner: true,
			ownerErr: errBroken, want: errBroken},
		"an unknown token":     {token: token, password: password, err: invitation.ErrNotFound, want: invitation.ErrInvalid},
		"a broken database":    {token: token, password: password, err: errBroken, want: errBroken},
		"a used token":         {token: token, password: password, invitation: newInvitation(accepted), want: invitation.ErrUsed},
		"a cancelled token":    {token: token, password: password, invitation: newInvitation(cancelled), want: invitation.ErrInvalid},
		"an expired token":     {token: token, password: password, invitation: newInvitation(expired), want: invitation.ErrExpired},
		"an exhausted hashing": {token: token, password: password, invitation: newInvitation(nil), owner: true, hashes: true, want: errBroken},
	} {
		t.Run("refuses before any transaction: "+name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t) // a guess costs no hash, and one that cannot be a token no query
			if tc.token == token {
				f.invitations.EXPECT().ByDigest(outside, digest).Return(tc.invitation, tc.err)
			}
			if tc.owner {
				f.owners.EXPECT().Account(outside, userID).Return(invitation.Account{Email: address}, tc.ownerErr)
			}
			if tc.hashes {
				f.passwords.EXPECT().Hash(outside, password).Return("", errBroken)
			}
			_, err := f.Accept(context.Background(), tc.token, tc.password, client)
			require.ErrorIs(t, err, tc.want)
			f.tx.requireTx(t, 0, 0)
		})
	}

	session := invitation.Session{Token: "signed", Lifetime: time.Hour}
	for name, tc := range map[string]struct {
		then func(f *fixture)
		want error
	}{
		"accepts under the invitation's lock": {then: func(f *fixture) {
			gomock.InOrder(
				f.invitations.EXPECT().LockByDigest(inside, digest).Return(newInvitation(nil), nil),
				f.activator.EXPECT().Activate(inside, userID, "hash", client).Return(session, nil),
				f.invitations.EXPECT().Save(inside, newInvitation(accepted)),
			)
		}},
		"refuses what was accepted meanwhile": {then: func(f *fixture) {
			f.invitations.EXPECT().LockByDigest(inside, digest).Return(newInvitation(accepted), nil)
		}, want: invitation.ErrUsed},
		"refuses what was purged meanwhile": {then: func(f *fixture) {
			f.invitations.EXPECT().LockByDigest(inside, digest).Return(invitation.Invitation{}, invitation.ErrNotFound)
		}, want: invitation.ErrInvalid},
		"rolls back when the account is active": {then: func(f *fixture) {
			f.invitations.EXPECT().LockByDigest(inside, digest).Return(newInvitation(nil), nil)
			f.activator.EXPECT().Activate(inside, userID, "hash", client).Return(invitation.Session{}, invitation.ErrUsed)
		}, want: invitation.ErrUsed},
		"rolls back when the invitation cannot be saved": {then: func(f *fixture) {
			f.invitations.EXPECT().LockByDigest(inside, digest).Return(newInvitation(nil), nil)
			f.activator.EXPECT().Activate(inside, userID, "hash", client).Return(session, nil)
			f.invitations.EXPECT().Save(inside, gomock.Any()).Return(errBroken)
		}, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.invitations.EXPECT().ByDigest(outside, digest).Return(newInvitation(nil), nil)
			f.owners.EXPECT().Account(outside, userID).Return(invitation.Account{Email: address}, nil)
			f.passwords.EXPECT().Hash(outside, password).Return("hash", nil)
			tc.then(f)
			got, err := f.Accept(context.Background(), token, password, client)
			require.ErrorIs(t, err, tc.want)
			if tc.want == nil {
				require.Equal(t, session, got)
				f.tx.requireTx(t, 1, 0)
				return
			}
			require.Zero(t, got)
			f.tx.requireTx(t, 0, 1)
		})
	}
}
