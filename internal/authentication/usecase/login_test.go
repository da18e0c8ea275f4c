package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestLogin(t *testing.T) {
	t.Parallel()

	t.Run("opens a session", func(t *testing.T) {
		t.Parallel()
		for name, remember := range map[string]bool{"for hours": false, "for days": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.expectPassword(activeUser())
				f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
				f.opens(activeUser(), remember)
				c := authentication.Credentials{Email: " " + email, Password: password}
				session, err := f.Login(context.Background(), c, remember, client())
				require.NoError(t, err)
				lifetime := policy.Idle
				if remember {
					lifetime = policy.Remember
				}
				require.Equal(t, authentication.Login{
					User: activeUser(), Token: authentication.Token{Value: token.Value, Lifetime: lifetime},
				}, session)
				f.requireTx(t, 1, 0)
				require.Equal(t, []string{"login", "login succeeded"}, f.guard.calls)
			})
		}
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		counted, undone := []string{"login"}, []string{"login", "login undone"}
		for name, tc := range map[string]struct {
			expect func(*fixture)
			want   error
			guard  []string
		}{
			"everybody before any look-up, over a limit": {func(f *fixture) {
				f.guard.refuse = map[string]error{"login": authentication.TryAgainIn(time.Minute)}
			}, authentication.TryAgainIn(time.Minute), counted},
			"an unknown address, after hashing": {func(f *fixture) {
				f.expectLookup(authentication.User{}, false)
			}, authentication.ErrWrongPassword, counted},
			"an unknown address whatever the hasher says": {func(f *fixture) {
				f.expectLookup(authentication.User{}, true)
			}, authentication.ErrWrongPassword, counted},
			"a wrong password": {func(f *fixture) { f.expectLookup(activeUser(), false) }, authentication.ErrWrongPassword, counted},
			"a wrong password of an unverified user": {func(f *fixture) {
				f.expectLookup(pendingUser(), false)
			}, authentication.ErrWrongPassword, counted},
			"an unverified user of the previous release": {func(f *fixture) {
				f.expectLookup(pendingUser(), true)
			}, authentication.ErrNotVerified, undone},
			"a password that waits for its code": {func(f *fixture) {
				f.expectPending(invitedUser(), storedRequest())
			}, authentication.ErrNotVerified, undone},
			"a password that waits for its code beside an account, in the same way": {func(f *fixture) {
				f.expectPending(activeUser(), storedRequest())
			}, authentication.ErrNotVerified, undone},
			"a password that waits for its code without a user": {func(f *fixture) {
				f.expectPending(authentication.User{}, storedRequest())
			}, authentication.ErrNotVerified, undone},
			"everybody while the pool is full": {func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(activeUser(), nil)
				f.requests.EXPECT().OfPassword(outside, email, gomock.Any())
				f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(false, false, authentication.ErrBusy)
			}, authentication.ErrBusy, undone},
			"everybody while the database is away": {func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(authentication.User{}, errBroken)
			}, errBroken, undone},
			"a password with the tag of a request, which counts although that cannot be compared": {func(f *fixture) {
				f.expectLookup(activeUser(), false, storedRequest())
				f.passwords.EXPECT().Verify(outside, "pending hash", password).Return(false, false, authentication.ErrBusy)
			}, authentication.ErrBusy, counted},
			"when no token can be signed": {func(f *fixture) {
				f.expectPassword(activeUser())
				f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
				f.sessions.EXPECT().Create(inside, gomock.Any())
				f.tokens.EXPECT().Issue(activeUser(), gomock.Any(), gomock.Any(), gomock.Any()).Return("", errBroken)
			}, errBroken, undone},
			"when the session cannot be stored": {func(f *fixture) {
				f.expectPassword(activeUser())
				f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
				f.sessions.EXPECT().Create(inside, gomock.Any()).Return(errBroken)
			}, errBroken, undone},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				tc.expect(f)
				session, err := f.Login(context.Background(), credentials(), false, client())
				require.ErrorIs(t, err, tc.want)
				require.Zero(t, session)
				require.Equal(t, tc.guard, f.guard.calls, "a guess that opens nothing resets nothing")
			})
		}
	})

	t.Run("replaces an outdated hash", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.clock.now = start.Add(time.Hour)
		// The row has changed since the password was checked: only the hash may be written over.
		locked := activeUser()
		locked.Role = authentication.RoleAdmin
		updated := locked
		updated.PasswordHash, updated.UpdatedAt = "new hash", f.clock.now
		gomock.InOrder(
			f.users.EXPECT().ByEmail(outside, email).Return(activeUser(), nil),
			f.requests.EXPECT().OfPassword(outside, email, gomock.Any()),
			f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(true, true, nil),
			f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil),
			f.users.EXPECT().LockByID(inside, userID).Return(locked, nil),
			f.users.EXPECT().Update(inside, updated),
		)
		f.opens(updated, false)
		_, err := f.Login(context.Background(), credentials(), false, client())
		require.NoError(t, err)
		f.requireTx(t, 1, 0)
	})

	t.Run("keeps an outdated hash while the pool is full", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.users.EXPECT().ByEmail(outside, email).Return(activeUser(), nil)
		f.requests.EXPECT().OfPassword(outside, email, gomock.Any())
		f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(true, true, nil)
		f.passwords.EXPECT().Hash(outside, password).Return("", authentication.ErrBusy)
		f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
		f.opens(activeUser(), false)
		_, err := f.Login(context.Background(), credentials(), false, client())
		require.NoError(t, err)
	})

	t.Run("opens nothing with a password that was changed while it was hashed", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		newer := activeUser()
		newer.PasswordHash = "hash of a newer password"
		gomock.InOrder(
			f.users.EXPECT().ByEmail(outside, email).Return(activeUser(), nil),
			f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(true, false, nil),
			f.users.EXPECT().LockByID(inside, userID).Return(newer, nil),
			f.users.EXPECT().ByEmail(outside, email).Return(newer, nil),
			f.passwords.EXPECT().Verify(outside, newer.PasswordHash, password).Return(false, false, nil),
		)
		f.requests.EXPECT().OfPassword(outside, email, gomock.Any()).Times(2)
		_, err := f.Login(context.Background(), credentials(), false, client())
		require.ErrorIs(t, err, authentication.ErrWrongPassword)
		require.Equal(t, []string{"login", "login undone", "login"}, f.guard.calls)
	})

	t.Run("looks again when another login has made the hash anew", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		newer := activeUser()
		newer.PasswordHash = "new hash"
		f.requests.EXPECT().OfPassword(outside, email, gomock.Any()).Times(2)
		gomock.InOrder(
			f.users.EXPECT().ByEmail(outside, email).Return(activeUser(), nil),
			f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(true, false, nil),
			f.users.EXPECT().LockByID(inside, userID).Return(newer, nil),
			f.users.EXPECT().ByEmail(outside, email).Return(newer, nil),
			f.passwords.EXPECT().Verify(outside, "new hash", password).Return(true, false, nil),
			f.users.EXPECT().LockByID(inside, userID).Return(newer, nil),
		)
		f.opens(newer, false)
		_, err := f.Login(context.Background(), credentials(), false, client())
		require.NoError(t, err)
		f.requireTx(t, 1, 1)
	})

	t.Run("opens nothing for a user who is no longer there, or not active", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.expectPassword(activeUser())
		f.users.EXPECT().LockByID(inside, userID).Return(authentication.User{}, authentication.ErrUserNotFound)
		_, err := f.Login(context.Background(), credentials(), false, client())
		require.ErrorIs(t, err, authentication.ErrWrongPassword)
	})

	t.Run("ends the sessions that the browser had, in one order", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		old, older := authentication.Claims{UserID: userID, SessionID: "b"}, authentication.Claims{UserID: "another", SessionID: "a"}
		c := client()
		c.Tokens = []authentication.Claims{old, older}
		f.expectPassword(activeUser())
		f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
		f.opens(activeUser(), false)
		f.sessions.EXPECT().EndTokens(inside, []authentication.Claims{older, old}, start)
		_, err := f.Login(context.Background(), credentials(), false, c)
		require.NoError(t, err)
	})
}
