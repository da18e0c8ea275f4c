package password_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/password"
)

var _ authentication.PasswordHasher = (*password.Hasher)(nil)

const secret = "correct horse"

func verify(t *testing.T, hash, attempt string) (ok, outdated bool) {
	t.Helper()
	ok, outdated, err := password.New().Verify(context.Background(), hash, attempt)
	require.NoError(t, err)
	return ok, outdated
}

// argon makes a hash without the package under test.
func argon(secret string, m, passes uint32, p uint8, salt []byte, size uint32) string {
	key := argon2.IDKey([]byte(secret), salt, passes, m, p, size)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", m, passes, p, b64(salt), b64(key))
}

func TestHash(t *testing.T) {
	t.Parallel()

	t.Run("makes argon2id hashes", func(t *testing.T) {
		t.Parallel()
		h := password.New()
		hash, err := h.Hash(context.Background(), secret)
		require.NoError(t, err)
		require.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, hash)
		require.LessOrEqual(t, len(hash), 255, "the column's width")

		ok, outdated := verify(t, hash, secret)
		require.True(t, ok)
		require.False(t, outdated)
		ok, outdated = verify(t, hash, secret+"!")
		require.False(t, ok)
		require.False(t, outdated)

		again, err := h.Hash(context.Background(), secret)
		require.NoError(t, err)
		require.NotEqual(t, hash, again, "each hash has its own salt")
	})

	t.Run("counts long passwords in full", func(t *testing.T) {
		t.Parallel()
		long := strings.Repeat("p", 4*authentication.MaxPasswordChars)
		hash, err := password.New().Hash(context.Background(), long)
		require.NoError(t, err)
		ok, _ := verify(t, hash, long)
		require.True(t, ok)
		ok, _ = verify(t, hash, long[:len(long)-1]+"q")
		require.False(t, ok)
	})
}

func TestVerify(t *testing.T) {
	t.Parallel()

	t.Run("reads foreign hashes", func(t *testing.T) {
		t.Parallel()
		salt16, salt8 := []byte("sixteen bytes ok"), []byte("8 bytes!")
		made, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
		require.NoError(t, err)
		bcrypted := string(made)
		for name, tc := range map[string]struct {
			hash     string
			outdated bool
		}{
			"argon2id as ours":      {argon(secret, 19456, 2, 1, salt16, 32), false},
			"argon2id, less memory": {argon(secret, 8192, 2, 1, salt16, 32), true},
			"argon2id, more of all": {argon(secret, 65536, 3, 4, salt16, 32), true},
			"argon2id, other sizes": {argon(secret, 19456, 2, 1, salt8, 16), true},
			"bcrypt $2a$":           {bcrypted, true},
			"bcrypt $2b$":           {strings.Replace(bcrypted, "$2a$", "$2b$", 1), true},
			"bcrypt $2y$":           {strings.Replace(bcrypted, "$2a$", "$2y$", 1), true},
			"bcrypt by libxcrypt":   {"$2b$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu", true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ok, outdated := verify(t, tc.hash, secret)
				require.True(t, ok)
				require.Equal(t, tc.outdated, outdated)

				ok, outdated = verify(t, tc.hash, "wrong horse")
				require.False(t, ok)
				require.False(t, outdated, "there is nothing to make a new hash of")
			})
		}
	})

	t.Run("accepts bcrypt passwords beyond 72 bytes", func(t *testing.T) {
		t.Parallel()
		long := strings.Repeat("p", 100)
		made, err := bcrypt.GenerateFromPassword([]byte(long[:72]), bcrypt.MinCost) // as a library that cuts off would
		require.NoError(t, err)
		ok, outdated := verify(t, string(made), long)
		require.True(t, ok)
		require.False(t, outdated, "nobody has proved what is behind the 72 bytes")
		_, outdated = verify(t, string(made), long[:72])
		require.True(t, outdated)
		ok, _ = verify(t, string(made), "q"+long)
		require.False(t, ok)
	})

	// Keyboards and systems write "ậ" as one character or as three (Unicode Standard Annex 15).
	t.Run("knows a password in every form of its characters", func(t *testing.T) {
		t.Parallel()
		typed := "mậtkhẩu-dài-12"
		composed, decomposed := norm.NFC.String(typed), norm.NFD.String(typed)
		require.NotEqual(t, composed, decomposed)
		for _, made := range []string{composed, decomposed} {
			hash, err := password.New().Hash(t.Context(), made)
			require.NoError(t, err)
			for _, tried := range []string{composed, decomposed} {
				ok, _ := verify(t, hash, tried)
				require.True(t, ok)
			}
		}
		old, err := bcrypt.GenerateFromPassword([]byte(decomposed), bcrypt.MinCost) // as the previous release hashed it
		require.NoError(t, err)
		ok, _ := verify(t, string(old), decomposed)
		require.True(t, ok, "as it was typed")
	})

	t.Run("is never right about what it cannot read", func(t *testing.T) {
		t.Parallel()
		good := argon(secret, 19456, 2, 1, []byte("sixteen bytes ok"), 32)
		made, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
		require.NoError(t, err)
		for name, hash := range map[string]string{
			"empty":                  "",
			"clear text":             secret,
			"argon2i":                strings.Replace(good, "argon2id", "argon2i", 1),
			"another version":        strings.Replace(good, "v=19", "v=16", 1),
			"no version":             strings.Replace(good, "$v=19", "", 1),
			"gigabytes of memory":    strings.Replace(good, "m=19456", "m=4194304", 1),
			"more memory than 2^32":  strings.Replace(good, "m=19456", "m=99999999999", 1),
			"no memory":              strings.Replace(good, "m=19456", "m=0", 1),
			"no passes":              strings.Replace(good, "t=2", "t=0", 1),
			"a million passes":       strings.Replace(good, "t=2", "t=1000000", 1),
			"no lane":                strings.Replace(good, "p=1", "p=0", 1),
			"too many lanes":         strings.Replace(good, "p=1", "p=200", 1),
			"negative passes":        strings.Replace(good, "t=2", "t=-2", 1),
			"trailing parameter":     strings.Replace(good, "p=1", "p=1,keyid=x", 1),
			"padded base64":          good + "=",
			"cut off":                good[:len(good)-1],
			"no key":                 good[:strings.LastIndex(good, "$")+1],
			"a key of one byte":      good[:strings.LastIndex(good, "$")+1] + "AA",
			"no salt":                "$argon2id$v=19$m=19456,t=2,p=1$$" + good[strings.LastIndex(good, "$")+1:],
			"bcrypt, cut off":        string(made)[:59],
			"bcrypt, days of work":   strings.Replace(string(made), "$04$", "$31$", 1),
			"bcrypt, unknown letter": strings.Replace(string(made), "$2a$", "$2z$", 1),
			"SHA-512 crypt":          "$6$saltsalt$" + strings.Repeat("a", 86),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ok, outdated := verify(t, hash, secret)
				require.False(t, ok)
				require.False(t, outdated)
			})
		}
	})
}

// What a call allocates shows which algorithm did its work: argon2 takes its memory anew each time. Not parallel: others
// allocate too.
func TestVerifyCostsTheSameWithoutAHash(t *testing.T) {
	h := password.New()
	allocated := func(hash string) uint64 {
		least := uint64(math.MaxUint64)
		for range 5 { // the runtime allocates beside us now and then
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := h.Verify(context.Background(), hash, secret)
			require.NoError(t, err)
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		return least
	}
	known := allocated(argon("another one", 19456, 2, 1, []byte("sixteen bytes ok"), 32))
	require.GreaterOrEqual(t, known, uint64(19456<<10))
	for _, hash := range []string{"", "not a hash"} {
		require.InDelta(t, known, allocated(hash), float64(known)/100+1024, "hash %q", hash)
	}
}

func BenchmarkVerify(b *testing.B) {
	h := password.New()
	good := argon(secret, 19456, 2, 1, []byte("sixteen bytes ok"), 32)
	for name, hash := range map[string]string{"argon2id": good, "unknown": ""} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := h.Verify(context.Background(), hash, "wrong horse"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
