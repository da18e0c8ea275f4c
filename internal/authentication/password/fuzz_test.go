package password

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a stored hash can ask for is bounded, whatever has written the row.
func FuzzStoredHash(f *testing.F) {
	salt, key := "$c2FsdHNhbHRzYWx0c2FsdA$", "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U"
	for _, costs := range []string{
		"m=19456,t=2,p=1", "m=131072,t=10,p=8", "m=131073,t=1,p=1", "m=4294967295,t=1,p=1", "m=4294967296,t=1,p=1", "m=8,t=0,p=1", "m=8,t=1,p=0",
		"m=+8,t=1,p=1", "m=0x10,t=1,p=1", "m= 8,t=1,p=1", "m=2040,t=1,p=255", "m=2048,t=1,p=256", "m=8,t=1,p=1,x=1", "m=-8,t=1,p=1",
	} {
		f.Add("$argon2id$v=19$" + costs + salt + key)
	}
	f.Add("$2a$10$" + strings.Repeat("a", 53))
	f.Add("$2y$31$" + strings.Repeat("a", 53))
	f.Add("$2b$99$" + strings.Repeat("a", 53))
	f.Add("$2x$10$" + strings.Repeat("a", 53))
	f.Add("")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, stored string) {
		needed := workOf(stored)
		require.Greater(t, needed.size, 0.0)
		require.LessOrEqual(t, needed.size, float64(maxMemory)*maxTime/(float64(current.memory)*float64(current.time)))
		if cost, ok := bcryptCost(stored); ok {
			require.Equal(t, bcrypted, needed.kind)
			require.LessOrEqual(t, cost, maxBcryptCost)
			require.LessOrEqual(t, needed.size, 16.0)
		}
		h, err := parsePHC(stored)
		if err != nil {
			require.ErrorIs(t, err, errFormat)
			return
		}
		require.Equal(t, argon2id, needed.kind)
		require.Equal(t, stored, h.String(), "a hash has one form")
		require.LessOrEqual(t, h.params.memory, uint32(128<<10))
		require.Positive(t, h.params.time)
		require.LessOrEqual(t, h.params.time, uint32(10))
		require.Positive(t, h.params.threads)
		require.GreaterOrEqual(t, len(h.key), 16, "an empty key would be everybody's")
		require.GreaterOrEqual(t, len(h.salt), 8)
		require.LessOrEqual(t, len(h.salt)+len(h.key), 128)
	})
}
