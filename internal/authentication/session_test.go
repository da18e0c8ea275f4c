package authentication_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

var (
	opened = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	policy = authentication.SessionPolicy{Idle: 2 * time.Hour, Remember: 30 * 24 * time.Hour}
)

func TestSessionPolicy(t *testing.T) {
	t.Parallel()

	t.Run("opens a session of the client", func(t *testing.T) {
		t.Parallel()
		c := authentication.Client{
			IP: netip.MustParseAddr("203.0.113.7"), UserAgent: " Firefox\r\n/1 \x00", Device: "\tAn's \u202e\xffphone\n ",
		}
		require.Equal(t, authentication.Session{
			ID: "id", UserID: "user", Remember: true, Device: "An's phone", UserAgent: "Firefox  /1", IP: "203.0.113.7",
			Network: "203.0.113.0/24", CreatedAt: opened, LastSeenAt: opened, ExpiresAt: opened.Add(30 * 24 * time.Hour),
			NewestIAT: opened.Truncate(time.Second),
		}, policy.Open("id", "user", true, c, opened))
		require.Equal(t, opened.Add(24*time.Hour), policy.Open("id", "user", false, c, opened).ExpiresAt)

		long := authentication.Client{UserAgent: strings.Repeat("ậ", 1000), Device: strings.Repeat("ậ ", 1000)}
		s := policy.Open("id", "user", false, long, opened)
		require.Len(t, []rune(s.UserAgent), 400)
		require.Len(t, []rune(s.Device), 99, "without a space at the end")
		require.Empty(t, s.IP)
		require.Empty(t, s.Network)
	})

	t.Run("gives tokens a day at most, and not more than the session has", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			policy      authentication.SessionPolicy
			remember    bool
			after       time.Duration
			token, left time.Duration
		}{
			"usual":               {policy, false, 0, 2 * time.Hour, 2 * time.Hour},
			"usual, late":         {policy, false, 23 * time.Hour, time.Hour, time.Hour},
			"remembered":          {policy, true, 0, 24 * time.Hour, 30 * 24 * time.Hour},
			"remembered, late":    {policy, true, 29*24*time.Hour + 12*time.Hour, 12 * time.Hour, 12 * time.Hour},
			"a longer usual one":  {authentication.SessionPolicy{Idle: 48 * time.Hour}, false, 0, 24 * time.Hour, 24 * time.Hour},
			"a short remembrance": {authentication.SessionPolicy{Remember: time.Hour}, true, 0, time.Hour, time.Hour},
		} {
			s := tc.policy.Open("id", "user", tc.remember, authentication.Client{}, opened)
			require.Equal(t, tc.token, tc.policy.TokenLife(s, opened.Add(tc.after)), name)
			require.Equal(t, tc.left, tc.policy.Left(s, opened.Add(tc.after)), name)
		}
	})
}

func TestSessionReused(t *testing.T) {
	t.Parallel()
	s := policy.Open("id", "user", true, authentication.Client{}, opened)
	first := authentication.Claims{IssuedAt: s.NewestIAT, ExpiresAt: s.NewestIAT.Add(time.Hour)}
	require.False(t, s.Reused(first, opened.Add(48*time.Hour)), "no newer one was shown")
	s.NewestIAT = s.NewestIAT.Add(30 * time.Minute)
	require.False(t, s.Reused(first, opened), "it has not expired: two pages may have asked at once")
	require.True(t, s.Reused(first, opened.Add(time.Hour)))
}
