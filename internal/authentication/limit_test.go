package authentication_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	t.Run("pauses a network for 15 minutes after ten wrong passwords in a row, and counts anew", func(t *testing.T) {
		t.Parallel()
		var l authentication.Limit
		for range authentication.LoginTries {
			require.Zero(t, l.LoginWait(now))
			l.AddLogin(now)
		}
		require.Equal(t, 15*time.Minute, l.LoginWait(now))
		require.Equal(t, time.Second, l.LoginWait(now.Add(15*time.Minute-time.Second)))
		later := now.Add(15 * time.Minute)
		require.Zero(t, l.LoginWait(later))
		l.AddLogin(later)
		require.Zero(t, l.LoginWait(later))
	})

	t.Run("gives strangers ten tries an hour after a hundred in a row", func(t *testing.T) {
		t.Parallel()
		var l authentication.Limit
		at := now
		for range authentication.StrangerTries {
			require.Zero(t, l.StrangerWait(at))
			l.Add(at)
			at = at.Add(10 * time.Minute)
		}
		tried := 0
		for end := at.Add(3 * time.Hour); at.Before(end); at = at.Add(time.Second) {
			if l.StrangerWait(at) == 0 {
				l.Add(at)
				tried++
			}
		}
		require.InDelta(t, 3*authentication.StrangerPerHour, tried, authentication.StrangerPerHour)
	})

	t.Run("spaces codes, and counts them by hour and day", func(t *testing.T) {
		t.Parallel()
		type step struct {
			after time.Duration // the step before
			kind  authentication.SendKind
			wait  time.Duration
			soon  bool
		}
		const resend, first, dead = authentication.SendResend, authentication.SendRegistration, authentication.SendReplacement
		for name, steps := range map[string][]step{
			"1, 2, 5 and 15 minutes apart": {
				{kind: first}, {after: 59 * time.Second, kind: resend, soon: true}, {after: time.Second, kind: resend},
				{after: 59 * time.Second, kind: resend, soon: true}, {after: time.Second, kind: resend, wait: time.Minute},
				{after: time.Minute, kind: resend}, {after: 4 * time.Minute, kind: resend, wait: time.Minute},
				{after: time.Minute, kind: resend}, {after: 14 * time.Minute, kind: resend, wait: time.Minute},
				{after: time.Minute, kind: resend}, {after: 15 * time.Minute, kind: resend, wait: 22 * time.Minute},
				{after: 22 * time.Minute, kind: resend},
			},
			"without spaces for registrations and dead codes, but five an hour": {
				{kind: first}, {kind: first}, {kind: dead}, {kind: dead}, {kind: first}, {kind: first, wait: time.Hour},
				{kind: dead, wait: time.Hour}, {after: time.Hour, kind: first}, {kind: dead},
			},
			"ten a day": {
				{kind: first}, {kind: first}, {kind: first}, {kind: first}, {kind: first},
				{after: time.Hour, kind: first}, {kind: first}, {kind: first}, {kind: first}, {kind: first},
				{after: time.Hour, kind: first, wait: 22 * time.Hour}, {after: 22 * time.Hour, kind: first},
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var l authentication.Limit
				at := now
				for i, s := range steps {
					at = at.Add(s.after)
					wait, soon := l.SendWait(s.kind, authentication.SendsPerDay, at)
					require.Equal(t, s.soon, soon, "step %d", i)
					require.Equal(t, s.wait, wait, "step %d", i)
					if wait == 0 && !soon {
						l.Add(at)
					}
				}
			})
		}
	})

	t.Run("gives an address 30 codes a day, and a network as many as it is told", func(t *testing.T) {
		t.Parallel()
		var all, one authentication.Limit
		for range authentication.SendsFromAll {
			require.Zero(t, all.SendWaitOfAll(now))
			all.Add(now)
		}
		require.Equal(t, 24*time.Hour, all.SendWaitOfAll(now))
		require.Zero(t, all.SendWaitOfAll(now.Add(24*time.Hour)))
		for range 3 {
			wait, _ := one.SendWait(authentication.SendRegistration, 3, now)
			require.Zero(t, wait)
			one.Add(now)
		}
		wait, _ := one.SendWait(authentication.SendRegistration, 3, now)
		require.Equal(t, 24*time.Hour, wait)
	})
}

func TestTryAgainIn(t *testing.T) {
	t.Parallel()
	err := authentication.TryAgainIn(1500 * time.Millisecond)
	require.Equal(t, "Too many tries; try again in 2 seconds", err.Message)
	require.Equal(t, 1500*time.Millisecond, err.After)
}

func TestLimitDigest(t *testing.T) {
	t.Parallel()
	require.Equal(t, key.LimitDigest("an@example.com"), key.LimitDigest(" AN@example.com "))
	require.NotEqual(t, key.LimitDigest("an@example.com"), key.LimitDigest("bo@example.com"))
	require.NotEqual(t, key.LimitDigest("an@example.com"), authentication.CodeKey("another").LimitDigest("an@example.com"))
}

func TestMerge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	counted := func(n int, at time.Time) (l authentication.Limit) {
		for range n {
			l.Add(at)
		}
		return l
	}

	t.Run("leaves one that has counted as it is", func(t *testing.T) {
		t.Parallel()
		one, place := counted(10, now), authentication.Limit{LastAt: now.Add(time.Hour)}
		require.Equal(t, one, one.Merge(place))
		require.Equal(t, one, place.Merge(one))
		require.Equal(t, one, one.Merge(authentication.Limit{}))
	})
	t.Run("takes the later of two that count nothing", func(t *testing.T) {
		t.Parallel()
		early, late := authentication.Limit{LastAt: now}, authentication.Limit{LastAt: now.Add(time.Hour)}
		require.Equal(t, late, early.Merge(late))
		require.Equal(t, late, late.Merge(early))
	})
	t.Run("remembers that a refusal is recorded, under whichever key", func(t *testing.T) {
		t.Parallel()
		recorded, other := counted(3, now), counted(2, now)
		recorded.Refused = true
		require.True(t, recorded.Merge(other).Refused)
		require.True(t, other.Merge(recorded).Refused)
	})
	t.Run("adds up, window by window", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			later     time.Duration
			hour, day int
		}{{30 * time.Minute, 7, 7}, {time.Hour, 3, 7}, {24 * time.Hour, 3, 3}} {
			early, late := counted(4, now), counted(3, now.Add(tt.later))
			both := early.Merge(late)
			require.Equal(t, both, late.Merge(early))
			require.Equal(t, authentication.Limit{
				Count: 7, LastAt: now.Add(tt.later),
				Hour: authentication.Window{Start: now.Add(tt.later), Count: tt.hour},
				Day:  authentication.Window{Start: now.Add(tt.later), Count: tt.day},
			}, both)
		}
	})
}
