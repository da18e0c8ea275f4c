package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestSessions(t *testing.T) {
	t.Parallel()

	t.Run("are those that live", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.clock.now = start.Add(3 * time.Hour)
		living := storedSession(usedAt(2 * time.Hour))
		f.sessions.EXPECT().List(outside, userID, f.clock.now, 100).Return([]authentication.Session{living, storedSession(nil)}, nil)
		got, err := f.Sessions(context.Background(), userID)
		require.NoError(t, err)
		require.Equal(t, []authentication.Session{living}, got)
	})

	t.Run("end one by one", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.sessions.EXPECT().End(inside, userID, "id", start).Return(authentication.ErrSessionNotFound)
		require.ErrorIs(t, f.EndSession(context.Background(), userID, "id"), authentication.ErrSessionNotFound)
	})

	t.Run("end but for the present one", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		changed := activeUser()
		changed.TokensValidAfter, changed.UpdatedAt = start, start
		f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
		f.users.EXPECT().Update(inside, changed)
		f.sessions.EXPECT().EndOthers(inside, userID, sessionID, start)
		login, err := f.EndOtherSessions(context.Background(), remembered(), client())
		require.NoError(t, err)
		require.Zero(t, login.Token)
		f.requireTx(t, 1, 0)
	})

	t.Run("end with one in the place of a token that belongs to none", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		changed := activeUser()
		changed.TokensValidAfter, changed.UpdatedAt = start, start
		f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
		f.users.EXPECT().Update(inside, changed)
		f.sessions.EXPECT().EndOthers(inside, userID, "", start)
		f.opens(changed, false)
		login, err := f.EndOtherSessions(context.Background(), authentication.Identity{User: activeUser()}, client())
		require.NoError(t, err)
		require.Equal(t, token, login.Token)
	})

	t.Run("end for nobody who is gone", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.users.EXPECT().LockByID(inside, userID).Return(authentication.User{}, authentication.ErrUserNotFound)
		_, err := f.EndOtherSessions(context.Background(), remembered(), client())
		require.ErrorIs(t, err, authentication.ErrUnauthenticated)
	})
}

func TestLogout(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, f.Logout(context.Background(), nil), "without a look at the database")
	f.sessions.EXPECT().EndTokens(outside, []authentication.Claims{claimsAt(start)}, start).Return(errBroken)
	require.ErrorIs(t, f.Logout(context.Background(), []authentication.Claims{claimsAt(start)}), errBroken)
}
