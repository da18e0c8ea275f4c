package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

// storedSession is activeUser's, opened at start.
func storedSession(change func(*authentication.Session)) authentication.Session {
	s := policy.Open(sessionID, userID, false, client(), start)
	if change != nil {
		change(&s)
	}
	return s
}

// claimsAt are those of a token of storedSession that was issued then.
func claimsAt(issued time.Time) authentication.Claims {
	return authentication.Claims{
		UserID: userID, SessionID: sessionID, Email: email, Role: authentication.RoleUser, ID: "1", Ours: true,
		IssuedAt: issued, ExpiresAt: issued.Add(policy.Idle),
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		user    authentication.User
		session func(*authentication.Session)
		err     error
		after   time.Duration
		want    error
	}{
		"a living session":             {user: activeUser()},
		"its last minute":              {user: activeUser(), after: 2*time.Hour + 59*time.Second},
		"one not used for two hours":   {user: activeUser(), after: 2*time.Hour + time.Minute, want: authentication.ErrUnauthenticated},
		"one remembered for days":      {user: activeUser(), session: remember, after: 29 * 24 * time.Hour},
		"one remembered for too long":  {user: activeUser(), session: remember, after: 30 * 24 * time.Hour, want: authentication.ErrUnauthenticated},
		"one in use for a day":         {user: activeUser(), session: usedAt(24*time.Hour - time.Minute), after: 24 * time.Hour, want: authentication.ErrUnauthenticated},
		"one that was ended":           {user: activeUser(), session: func(s *authentication.Session) { s.EndedAt = start }, want: authentication.ErrUnauthenticated},
		"one of a user not active now": {user: pendingUser(), want: authentication.ErrUnauthenticated},
		"one of another user":          {user: authentication.User{ID: "another", Active: true}, want: authentication.ErrUnauthenticated},
		"none":                         {err: authentication.ErrSessionNotFound, want: authentication.ErrUnauthenticated},
		"a database that is away":      {err: errBroken, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.clock.now = start.Add(tc.after)
			session := storedSession(tc.session)
			f.sessions.EXPECT().Find(outside, sessionID).Return(session, tc.user, tc.err)
			claims := claimsAt(start)
			claims.ExpiresAt = f.clock.now.Add(time.Hour)
			if tc.want == nil && tc.after > 0 {
				f.sessions.EXPECT().Seen(outside, sessionID, f.clock.now, start).Return(errBroken) // which fails no request
			}
			got, err := f.Identify(context.Background(), claims)
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
				require.Zero(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.user, got.User)
			require.Equal(t, session, got.Session)
		})
	}

	t.Run("refuses a token without a session before it looks", func(t *testing.T) {
		t.Parallel()
		_, err := newFixture(t).Identify(context.Background(), authentication.Claims{UserID: userID})
		require.ErrorIs(t, err, authentication.ErrUnauthenticated)
	})

	t.Run("stores that a session is in use once a minute, and that a newer token was shown", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			after  time.Duration
			issued time.Time
			want   bool
		}{
			"within the minute": {59 * time.Second, start, false},
			"after a minute":    {time.Minute, start, true},
			"a newer token":     {time.Second, start.Add(time.Second), true},
		} {
			f := newFixture(t)
			f.clock.now = start.Add(tc.after)
			f.sessions.EXPECT().Find(outside, sessionID).Return(storedSession(nil), activeUser(), nil)
			if tc.want {
				f.sessions.EXPECT().Seen(outside, sessionID, f.clock.now, tc.issued)
			}
			_, err := f.Identify(context.Background(), claimsAt(tc.issued))
			require.NoError(t, err, name)
		}
	})

	t.Run("says which tokens are to be replaced", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			after  time.Duration
			change func(*authentication.Claims)
			want   bool
		}{
			"a young one":     {after: time.Hour - time.Second},
			"a half-aged one": {after: time.Hour, want: true},
			"another role":    {change: func(c *authentication.Claims) { c.Role = authentication.RoleAdmin }, want: true},
			"another address": {change: func(c *authentication.Claims) { c.Email = "An@example.com" }, want: true},
		} {
			f := newFixture(t)
			f.clock.now = start.Add(tc.after)
			claims := claimsAt(start)
			if tc.change != nil {
				tc.change(&claims)
			}
			f.sessions.EXPECT().Find(outside, sessionID).Return(storedSession(usedAt(tc.after)), activeUser(), nil)
			got, err := f.Identify(context.Background(), claims)
			require.NoError(t, err, name)
			require.Equal(t, tc.want, got.Stale, name)
		}
	})
}

func remember(s *authentication.Session) {
	s.Remember, s.ExpiresAt = true, start.Add(policy.Remember)
}

func usedAt(after time.Duration) func(*authentication.Session) {
	return func(s *authentication.Session) { s.LastSeenAt = start.Add(after) }
}
