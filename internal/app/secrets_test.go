package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
)

func TestFillSecrets(t *testing.T) {
	t.Parallel()
	fill := func(t *testing.T, dir string, s config.Secrets) config.Secrets {
		t.Helper()
		require.NoError(t, fillSecrets(&s, dir))
		require.Empty(t, s.Validate())
		for _, key := range []config.Key{s.CodeHMAC, s.EventsSeal, s.TrialDigest, config.Key(s.JWT)} {
			require.Len(t, []byte(key), 32)
		}
		return s
	}
	t.Run("makes keys that survive a restart, and prefers those of the environment", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		first := fill(t, dir, config.Secrets{})
		require.Equal(t, first, fill(t, dir, config.Secrets{}))
		own := config.Key("0123456789abcdef0123456789abcdef")
		got := fill(t, dir, config.Secrets{TrialDigest: own})
		require.Equal(t, own, got.TrialDigest)
		require.Equal(t, first.CodeHMAC, got.CodeHMAC)
	})

	t.Run("adds the key that an earlier release did not have, and keeps the others", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		path := filepath.Join(dir, "secrets.json")
		const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
		old := `{"jwt_secret":"` + key + `","code_hmac_key":"` + key + `","events_seal_key":"` + key + `"}`
		require.NoError(t, os.WriteFile(path, []byte(old), 0o600))
		got := fill(t, dir, config.Secrets{})
		require.Equal(t, config.Secret("0123456789abcdef0123456789abcdef"), got.JWT)
		require.Equal(t, config.Key("0123456789abcdef0123456789abcdef"), got.EventsSeal)
		require.Equal(t, got, fill(t, dir, config.Secrets{}))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	})

	t.Run("touches no file that it cannot read", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "secrets.json")
		require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
		require.ErrorContains(t, fillSecrets(&config.Secrets{}, filepath.Dir(path)), path)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "{", string(content))
	})
}
