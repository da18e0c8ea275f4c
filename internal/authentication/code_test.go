package authentication_test

import (
	"strconv"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

var (
	created = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	key     = authentication.CodeKey("a key of thirty-two bytes, really")
)

const digits = "123456"

func newRequest(id string) authentication.CodeRequest {
	return authentication.CodeRequest{
		ID: id, Purpose: authentication.PurposeVerification,
		Code: authentication.Code{
			Digest: key.Digest(authentication.PurposeVerification, id, digits), EventID: "evt_1",
			CreatedAt: created, ExpiresAt: created.Add(authentication.CodeLifetime),
		},
	}
}

func newCode() authentication.Code { return newRequest("request-1").Code }

func TestTryDigits(t *testing.T) {
	t.Parallel()
	soon := created.Add(time.Minute)
	used := func(c *authentication.Code) { c.UsedAt = created.Add(time.Second) }

	t.Run("judges and counts a try", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			change func(*authentication.Code)
			digits string
			now    time.Time
			err    error
			tries  int
			used   bool
		}{
			"right":                       {digits: digits, now: soon, used: true},
			"right in the last moment":    {digits: digits, now: created.Add(10*time.Minute - time.Microsecond), used: true},
			"right, one microsecond late": {digits: digits, now: created.Add(10 * time.Minute), err: authentication.ErrCodeExpired},
			"wrong":                       {digits: "123457", now: soon, err: authentication.ErrWrongCode, tries: 1},
			"nothing":                     {now: soon, err: authentication.ErrWrongCode, tries: 1},
			"right after four wrong": {
				change: func(c *authentication.Code) { c.WrongTries = 4 }, digits: digits, now: soon, tries: 4, used: true,
			},
			"right after five wrong": {
				change: func(c *authentication.Code) { c.WrongTries = 5 }, digits: digits, now: soon,
				err: authentication.ErrTooManyTries, tries: 5,
			},
			"wrong after five wrong is not counted": {
				change: func(c *authentication.Code) { c.WrongTries = 5 }, digits: "123457", now: soon,
				err: authentication.ErrTooManyTries, tries: 5,
			},
			"wrong and expired is not counted": {digits: "123457", now: created.Add(time.Hour), err: authentication.ErrCodeExpired},
			"right a second time":              {change: used, digits: digits, now: soon, err: authentication.ErrAlreadyVerified, used: true},
			"wrong after it was used":          {change: used, digits: "123457", now: soon, err: authentication.ErrWrongCode, used: true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				requests := []authentication.CodeRequest{newRequest("request-1")}
				if tc.change != nil {
					tc.change(&requests[0].Code)
				}
				proved, err := authentication.CodeKeys{key}.TryDigits(requests, tc.digits, tc.now)
				if tc.err == nil {
					require.NoError(t, err)
					require.Equal(t, &requests[0], proved)
					require.Equal(t, tc.now, requests[0].Code.UsedAt)
				} else {
					require.ErrorIs(t, err, tc.err)
					require.Nil(t, proved)
				}
				require.Equal(t, tc.tries, requests[0].Code.WrongTries)
				require.Equal(t, tc.used, !requests[0].Code.UsedAt.IsZero())
			})
		}
	})

	t.Run("needs a request of this browser", func(t *testing.T) {
		t.Parallel()
		_, err := authentication.CodeKeys{key}.TryDigits(nil, digits, soon)
		require.ErrorIs(t, err, authentication.ErrOtherBrowser)
	})

	t.Run("finds the request they prove among several, and counts nothing then", func(t *testing.T) {
		t.Parallel()
		requests := []authentication.CodeRequest{newRequest("newest"), newRequest("older")}
		requests[0].Code.Digest = key.Digest(authentication.PurposeVerification, "newest", "999999")
		proved, err := authentication.CodeKeys{key}.TryDigits(requests, digits, soon)
		require.NoError(t, err)
		require.Equal(t, "older", proved.ID)
		require.Zero(t, requests[0].Code.WrongTries)
	})

	t.Run("counts a wrong try on every code that could be used, and says what the newest says", func(t *testing.T) {
		t.Parallel()
		requests := []authentication.CodeRequest{newRequest("a"), newRequest("b"), newRequest("c"), newRequest("d")}
		requests[0].Code.ExpiresAt = created
		requests[1].Code.UsedAt = created
		requests[2].Code.WrongTries = 5
		_, err := authentication.CodeKeys{key}.TryDigits(requests, "000000", soon)
		require.ErrorIs(t, err, authentication.ErrCodeExpired)
		var tries []int
		for _, r := range requests {
			tries = append(tries, r.Code.WrongTries)
		}
		require.Equal(t, []int{0, 0, 5, 1}, tries)
	})

	t.Run("lets an older code be spent whose newest neighbour is dead, and counts nothing", func(t *testing.T) {
		t.Parallel()
		requests := []authentication.CodeRequest{newRequest("newest"), newRequest("older")}
		requests[0].Code.WrongTries = authentication.MaxWrongTries
		requests[0].Code.Digest = key.Digest(authentication.PurposeVerification, "newest", "999999")
		proved, err := authentication.CodeKeys{key}.TryDigits(requests, digits, soon)
		require.NoError(t, err)
		require.Equal(t, "older", proved.ID)
		require.Equal(t, authentication.MaxWrongTries, requests[0].Code.WrongTries)
	})

	t.Run("knows the digits that have been used beside a newer request, and counts nothing", func(t *testing.T) {
		t.Parallel()
		requests := []authentication.CodeRequest{newRequest("newest"), newRequest("proved")}
		requests[0].Code.Digest = key.Digest(authentication.PurposeVerification, "newest", "999999")
		used(&requests[1].Code)
		_, err := authentication.CodeKeys{key}.TryDigits(requests, digits, soon)
		require.ErrorIs(t, err, authentication.ErrAlreadyVerified)
		require.Zero(t, requests[0].Code.WrongTries)
	})

	t.Run("proves nothing with the digits of another purpose", func(t *testing.T) {
		t.Parallel()
		requests := []authentication.CodeRequest{newRequest("request-1")}
		requests[0].Purpose = authentication.PurposeReset
		_, err := authentication.CodeKeys{key}.TryDigits(requests, digits, soon)
		require.ErrorIs(t, err, authentication.ErrWrongCode)
	})

	t.Run("has five tries", func(t *testing.T) {
		t.Parallel()
		requests := []authentication.CodeRequest{newRequest("request-1")}
		for range authentication.MaxWrongTries {
			_, err := authentication.CodeKeys{key}.TryDigits(requests, "000000", soon)
			require.ErrorIs(t, err, authentication.ErrWrongCode)
		}
		require.True(t, requests[0].Code.Dead())
		_, err := authentication.CodeKeys{key}.TryDigits(requests, digits, soon)
		require.ErrorIs(t, err, authentication.ErrTooManyTries)
	})
}

func TestParseDigits(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"123456": "123456", " 012345\n": "012345", "123 456": "123456", "123-456": "123456", "123\u2013456": "123456",
		"123\u00a0456\u00a0": "123456", "\u200b123456": "123456", "１２３４５６": "123456", "١٢٣٤٥٦": "123456", "𝟏𝟚𝟥𝟰𝟻𝟼": "123456",
		"123\u2011456": "123456", "1 2 3 4 5 6": "123456", "１２３\u3000４５６": "123456",
		"": "", "12345": "", "1234567": "", "12345a": "", "12345½": "", "123456\n7": "", "+12345": "", "12345\x00": "", "Ⅻ3456": "", "¹23456": "", "①23456": "", "123.456": "",
		"123,456": "", "12345\xff": "", "O12345": "",
	} {
		digits, ok := authentication.ParseDigits(typed)
		require.Equal(t, want != "", ok, "%q", typed)
		if ok {
			require.Equal(t, want, digits)
		}
	}
}

// The value of a digit is found by counting those before it.
func TestParseDigitsOfEveryScript(t *testing.T) {
	t.Parallel()
	scripts, value := 0, 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.Is(unicode.Nd, r) {
			if value != 0 {
				require.Failf(t, "the script ends in the middle", "before %U", r)
			}
			continue
		}
		digits, ok := authentication.ParseDigits("12345" + string(r))
		require.True(t, ok, "%U", r)
		require.Equal(t, "12345"+strconv.Itoa(value), digits, "%U", r)
		if value = (value + 1) % 10; value == 0 {
			scripts++
		}
	}
	require.Greater(t, scripts, 60)
}

func FuzzParseDigits(f *testing.F) {
	for _, seed := range []string{"123456", "１２３-４５６", "𝟏𝟚𝟥𝟰𝟻𝟼", "12345a", "\xff123456"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		digits, ok := authentication.ParseDigits(typed)
		if !ok {
			return
		}
		require.Regexp(t, `^[0-9]{6}$`, digits)
		again, ok := authentication.ParseDigits(digits)
		require.True(t, ok)
		require.Equal(t, digits, again)
	})
}

func TestCode(t *testing.T) {
	t.Parallel()

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

	t.Run("is proved by digits under any accepted key, and made with the first", func(t *testing.T) {
		t.Parallel()
		other := authentication.CodeKey("another key")
		both := authentication.CodeKeys{other, key}
		require.Equal(t, other.Digest(authentication.PurposeReset, "request-1", digits), both.Digest(authentication.PurposeReset, "request-1", digits))
		for _, made := range []authentication.CodeKey{key, other} {
			requests := func() []authentication.CodeRequest {
				r := newRequest("request-1")
				r.Code.Digest = made.Digest(r.Purpose, r.ID, digits)
				return []authentication.CodeRequest{r}
			}
			tried := requests()
			proved, err := both.TryDigits(tried, digits, created.Add(time.Minute))
			require.NoError(t, err)
			require.Equal(t, &tried[0], proved)
			tried = requests()
			_, err = both.TryDigits(tried, "000000", created.Add(time.Minute))
			require.ErrorIs(t, err, authentication.ErrWrongCode)
			require.Equal(t, 1, tried[0].Code.WrongTries, "one try, whatever the keys")
			_, err = authentication.CodeKeys{[]byte("a third")}.TryDigits(requests(), digits, created.Add(time.Minute))
			require.ErrorIs(t, err, authentication.ErrWrongCode)
		}
		require.Equal(t, []uint16{other.PasswordTag("an@example.com", "secret"), key.PasswordTag("an@example.com", "secret")},
			both.PasswordTags("an@example.com", "secret"))
		require.Equal(t, [][]byte{other.LimitDigest("an@example.com"), key.LimitDigest("an@example.com")},
			both.LimitDigests("an@example.com"))
	})

	t.Run("has a digest that is bound to purpose, request and key", func(t *testing.T) {
		t.Parallel()
		right := key.Digest(authentication.PurposeVerification, "request-1", digits)
		require.Len(t, right, 32)
		require.Equal(t, right, key.Digest(authentication.PurposeVerification, "request-1", digits))
		for name, other := range map[string][]byte{
			"digits":  key.Digest(authentication.PurposeVerification, "request-1", "123457"),
			"request": key.Digest(authentication.PurposeVerification, "request-2", digits),
			"purpose": key.Digest(authentication.PurposeReset, "request-1", digits),
			"key":     authentication.CodeKey("another key").Digest(authentication.PurposeVerification, "request-1", digits),
			"border":  key.Digest(authentication.PurposeVerification, "request-11", "23456"),
		} {
			require.NotEqual(t, right, other, name)
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
