package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestRenew(t *testing.T) {
	t.Parallel()

	t.Run("replaces a stale token, under the lock of its session", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			session           func(*authentication.Session)
			after             time.Duration
			claims            authentication.Claims
			life, cookieLasts time.Duration
		}{
			"after half of its life": {after: time.Hour, claims: claimsAt(start), life: 2 * time.Hour, cookieLasts: 2 * time.Hour},
			"shortly before the end of its session": {
				session: usedAt(23 * time.Hour), after: 23*time.Hour + 30*time.Minute, claims: claimsAt(start.Add(22 * time.Hour)),
				life: 30 * time.Minute, cookieLasts: 30 * time.Minute,
			},
			"of a session for days": {
				session: remember, after: 2 * 24 * time.Hour, claims: claimsAt(start.Add(36 * time.Hour)),
				life: 24 * time.Hour, cookieLasts: 28 * 24 * time.Hour,
			},
			"that has expired, while no newer one was shown": {
				session: remember, after: 5 * 24 * time.Hour, claims: claimsAt(start),
				life: 24 * time.Hour, cookieLasts: 25 * 24 * time.Hour,
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.clock.now = start.Add(tc.after)
				f.sessions.EXPECT().Lock(inside, sessionID).Return(storedSession(tc.session), activeUser(), nil)
				f.tokens.EXPECT().Issue(activeUser(), sessionID, f.clock.now, f.clock.now.Add(tc.life)).Return("new", nil)
				f.sessions.EXPECT().Seen(inside, sessionID, f.clock.now, tc.claims.IssuedAt)
				login, err := f.Renew(context.Background(), tc.claims)
				require.NoError(t, err)
				require.Equal(t, authentication.Login{
					User: activeUser(), Token: authentication.Token{Value: "new", Lifetime: tc.cookieLasts},
				}, login)
				f.requireTx(t, 1, 0)
			})
		}
	})

	t.Run("replaces no token that need not be", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.sessions.EXPECT().Lock(inside, sessionID).Return(storedSession(nil), activeUser(), nil)
		login, err := f.Renew(context.Background(), claimsAt(start))
		require.NoError(t, err)
		require.Equal(t, authentication.Login{User: activeUser()}, login)
	})

	t.Run("refuses and reports an expired token that its browser has replaced", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.clock.now = start.Add(3 * time.Hour)
		session := storedSession(func(s *authentication.Session) {
			s.LastSeenAt, s.NewestIAT = f.clock.now, start.Add(time.Hour)
		})
		f.sessions.EXPECT().Lock(inside, sessionID).Return(session, activeUser(), nil)
		_, err := f.Renew(context.Background(), claimsAt(start))
		require.ErrorIs(t, err, authentication.ErrUnauthenticated)
		require.Equal(t, []authentication.Session{session}, f.reused)
	})

	t.Run("refuses what Identify refuses, and reports none of it", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			session func(*authentication.Session)
			user    authentication.User
			err     error
			want    error
		}{
			"a session that was ended": {func(s *authentication.Session) { s.EndedAt = start }, activeUser(), nil, authentication.ErrUnauthenticated},
			"one that is over":         {nil, activeUser(), nil, authentication.ErrUnauthenticated},
			"a user not active":        {remember, pendingUser(), nil, authentication.ErrUnauthenticated},
			"another user's":           {remember, authentication.User{ID: "another", Active: true}, nil, authentication.ErrUnauthenticated},
			"none":                     {nil, authentication.User{}, authentication.ErrSessionNotFound, authentication.ErrUnauthenticated},
			"a database away":          {nil, authentication.User{}, errBroken, errBroken},
		} {
			f := newFixture(t)
			f.clock.now = start.Add(3 * time.Hour)
			f.sessions.EXPECT().Lock(inside, sessionID).Return(storedSession(tc.session), tc.user, tc.err)
			_, err := f.Renew(context.Background(), claimsAt(start))
			require.ErrorIs(t, err, tc.want, name)
			require.Empty(t, f.reused, name)
		}
		_, err := newFixture(t).Renew(context.Background(), authentication.Claims{UserID: userID})
		require.ErrorIs(t, err, authentication.ErrUnauthenticated)
	})
}
