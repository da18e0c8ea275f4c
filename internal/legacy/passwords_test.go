package legacy

import (
	"context"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/smap-platform/identity/internal/authentication"
	corepassword "github.com/smap-platform/identity/internal/authentication/password"
)

var (
	_ authentication.PasswordHasher = (*Passwords)(nil)
	_ Hasher                        = (*corepassword.Hasher)(nil)
)

// full is a Hasher without a place.
type full struct{ Hasher }

func (full) Enter(context.Context, int) (func(), error) { return nil, authentication.ErrBusy }

// This test is not parallel as a whole: one of its cases counts allocations.
func TestPasswords(t *testing.T) {
	core := corepassword.New()
	p := NewPasswords(core)
	verify := func(t *testing.T, hasher authentication.PasswordHasher, hash, attempt string) (ok, outdated bool) {
		t.Helper()
		ok, outdated, err := hasher.Verify(context.Background(), hash, attempt)
		require.NoError(t, err)
		return ok, outdated
	}

	// golang.org/x/crypto/bcrypt at cost 10.
	for name, secret := range map[string]string{
		"usual": password, "at most 72 bytes": strings.Repeat("ễ", 24), "with a NUL": "correct\x00horse", "empty": "",
	} {
		t.Run("a hash is what the previous release makes itself: "+name, func(t *testing.T) {
			hash, err := p.Hash(context.Background(), secret)
			require.NoError(t, err)
			require.Regexp(t, `^\$2a\$10\$[A-Za-z0-9./]{53}$`, hash)
			require.NoError(t, bcrypt.CompareHashAndPassword([]byte(hash), []byte(secret)), "the previous release's own check")
			ok, outdated := verify(t, p, hash, secret)
			require.True(t, ok)
			require.False(t, outdated, "nothing is rehashed")
			ok, _ = verify(t, p, hash, "!"+secret)
			require.False(t, ok)
			ok, outdated = verify(t, core, hash, secret)
			require.True(t, ok)
			require.True(t, outdated, "once nobody has to go back")
		})
	}

	// bcrypt would judge the first 72 bytes only, and its library refuses to.
	t.Run("a password of more than bcrypt takes in becomes argon2id", func(t *testing.T) {
		long := strings.Repeat("p", 73)
		hash, err := p.Hash(context.Background(), long)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(hash, "$argon2id$"), hash)
		ok, outdated := verify(t, p, hash, long)
		require.True(t, ok)
		require.False(t, outdated)
		ok, _ = verify(t, p, hash, long[:72])
		require.False(t, ok)
	})

	t.Run("hashes take the core's places", func(t *testing.T) {
		_, err := NewPasswords(full{core}).Hash(context.Background(), password)
		require.ErrorIs(t, err, authentication.ErrBusy)
	})

	// What a call allocates shows which algorithm did its work: argon2 takes its memory anew each time, and bcrypt its
	// cipher.
	t.Run("verifying costs the same without a hash", func(t *testing.T) {
		bcrypted, err := bcrypt.GenerateFromPassword([]byte("another one"), 10)
		require.NoError(t, err)
		allocated := func(hash string) uint64 {
			verify(t, p, hash, password) // what is made once is made now
			least := uint64(math.MaxUint64)
			for range 5 { // the runtime allocates beside us now and then
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				verify(t, p, hash, password)
				runtime.ReadMemStats(&after)
				least = min(least, after.TotalAlloc-before.TotalAlloc)
			}
			return least
		}
		known := allocated(string(bcrypted))
		require.GreaterOrEqual(t, known, uint64(4<<10))
		for _, hash := range []string{"", "not a hash", "$2a$10$cut off"} {
			require.InDelta(t, known, allocated(hash), float64(known)/100+1024, "hash %q", hash)
			ok, _ := verify(t, p, hash, password)
			require.False(t, ok)
		}
	})
}
