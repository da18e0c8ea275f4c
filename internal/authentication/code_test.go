package authentication_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

var (
	created = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	key     = authentication.CodeKey("a key of thirty-two bytes, really")
	right   = key.Digest(authentication.PurposeVerification, "user-1", "123456")
	wrong   = key.Digest(authentication.PurposeVerification, "user-1", "123457")
)

func newCode() authentication.Code {
	return authentication.Code{
		UserID: "user-1", Purpose: authentication.PurposeVerification, Digest: right, EventID: "evt_1",
		CreatedAt: created, ExpiresAt: created.Add(authentication.CodeLifetime),
	}
}

func TestCode(t *testing.T) {
	t.Parallel()

	t.Run("counts and judges a try", func(t *testing.T) {
		t.Parallel()
		soon := created.Add(time.Minute)
		for name, tc := range map[string]struct {
			change func(*authentication.Code)
			digest []byte
			now    time.Time
			err    error
			tries  int
			used   bool
		}{
			"right":                       {digest: right, now: soon, used: true},
			"right in the last moment":    {digest: right, now: created.Add(10*time.Minute - time.Microsecond), used: true},
			"right, one microsecond late": {digest: right, now: created.Add(10 * time.Minute), err: authentication.ErrCodeExpired},
			"wrong":                       {digest: wrong, now: soon, err: authentication.ErrWrongCode, tries: 1},
			"no digest at all":            {digest: nil, now: soon, err: authentication.ErrWrongCode, tries: 1},
			"right after four wrong": {
				change: func(c *authentication.Code) { c.WrongTries = 4 }, digest: right, now: soon, tries: 4, used: true,
			},
			"fifth wrong": {
				change: func(c *authentication.Code) { c.WrongTries = 4 }, digest: wrong, now: soon,
				err: authentication.ErrWrongCode, tries: 5,
			},
			"right after five wrong": {
				change: func(c *authentication.Code) { c.WrongTries = 5 }, digest: right, now: soon,
				err: authentication.ErrTooManyTries, tries: 5,
			},
			"wrong after five wrong is not counted": {
				change: func(c *authentication.Code) { c.WrongTries = 5 }, digest: wrong, now: soon,
				err: authentication.ErrTooManyTries, tries: 5,
			},
			"dead and expired": {
				change: func(c *authentication.Code) { c.WrongTries = 5 }, digest: right, now: created.Add(time.Hour),
				err: authentication.ErrTooManyTries, tries: 5,
			},
			"wrong and expired": {digest: wrong, now: created.Add(time.Hour), err: authentication.ErrCodeExpired},
			"right a second time": {
				change: func(c *authentication.Code) { c.UsedAt = created.Add(time.Second) }, digest: right, now: soon,
				err: authentication.ErrWrongCode, used: true,
			},
			"used and expired": {
				change: func(c *authentication.Code) { c.UsedAt = created.Add(time.Second) }, digest: right,
				now: created.Add(time.Hour), err: authentication.ErrWrongCode, used: true,
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				code := newCode()
				if tc.change != nil {
					tc.change(&code)
				}
				err := code.Try(tc.digest, tc.now)
				if tc.err == nil {
					require.NoError(t, err)
					require.Equal(t, tc.now, code.UsedAt)
				} else {
					require.ErrorIs(t, err, tc.err)
				}
				require.Equal(t, tc.tries, code.WrongTries)
				require.Equal(t, tc.used, !code.UsedAt.IsZero())
			})
		}
	})

	t.Run("dies after five wrong tries", func(t *testing.T) {
		t.Parallel()
		code := newCode()
		for range authentication.MaxWrongTries {
			require.ErrorIs(t, code.Try(wrong, created), authentication.ErrWrongCode)
		}
		require.ErrorIs(t, code.Try(right, created), authentication.ErrTooManyTries)
		require.True(t, code.UsedAt.IsZero())
	})

	t.Run("can be replaced after a minute", func(t *testing.T) {
		t.Parallel()
		code := newCode()
		for age, want := range map[time.Duration]bool{
			-time.Second:                   false, // a clock that went backwards
			0:                              false,
			time.Minute - time.Microsecond: false,
			time.Minute:                    true,
			time.Hour:                      true,
		} {
			require.Equal(t, want, code.CanResend(created.Add(age)), age)
		}
	})

	t.Run("knows which mail carries it", func(t *testing.T) {
		t.Parallel()
		code := newCode()
		require.True(t, code.Current("evt_1"))
		require.False(t, code.Current("evt_2"), "a newer code has another event")
		code.UsedAt = created
		require.False(t, code.Current("evt_1"), "a used code needs no mail")
	})

	t.Run("has a digest that is bound to purpose, user and key", func(t *testing.T) {
		t.Parallel()
		require.Len(t, right, 32)
		require.Equal(t, right, key.Digest(authentication.PurposeVerification, "user-1", "123456"))
		for name, other := range map[string][]byte{
			"digits":  wrong,
			"user":    key.Digest(authentication.PurposeVerification, "user-2", "123456"),
			"purpose": key.Digest("password_reset", "user-1", "123456"),
			"key":     authentication.CodeKey("another key").Digest(authentication.PurposeVerification, "user-1", "123456"),
			"border":  key.Digest(authentication.PurposeVerification, "user-11", "23456"),
		} {
			require.NotEqual(t, right, other, name)
			code := newCode()
			require.ErrorIs(t, code.Try(other, created), authentication.ErrWrongCode, name)
		}
	})
}

// With 6,000 draws each of 60 cells (position × digit) expects 600 with a standard deviation of 23. The bounds are
// ±13 of those: a fair generator misses them about once in 10^36 runs, one that never draws a digit always does.
func TestNewDigits(t *testing.T) {
	t.Parallel()
	const draws, low, high = 6_000, 300, 900
	var count [6][10]int
	distinct := map[string]struct{}{}
	for range draws {
		digits := authentication.NewDigits()
		require.Regexp(t, `^[0-9]{6}$`, digits)
		distinct[digits] = struct{}{}
		for i, d := range []byte(digits) {
			count[i][d-'0']++
		}
	}
	for i := range count {
		for d, n := range count[i] {
			require.Truef(t, low < n && n < high, "digit %d stands %d times at position %d", d, n, i)
		}
	}
	require.Greater(t, len(distinct), 5_500, "6,000 of a million values meet about 18 times")
}
