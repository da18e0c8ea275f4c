package config

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProduction(t *testing.T) {
	everywhere := map[string]string{ // in place of a value that is fine
		"INTERNAL_KEY": "an internal key, 1", "INTERNAL_KEY_PREVIOUS": "an internal key, 2",
		"JWT_SECRET_PREVIOUS":      "hunter2 was a secret of some length",
		"CODE_HMAC_KEY_PREVIOUS":   base64.StdEncoding.EncodeToString([]byte("a code key of thirty-two bytes..")),
		"EVENTS_SEAL_KEY_PREVIOUS": base64.StdEncoding.EncodeToString([]byte("a seal key of thirty-two bytes..")),
	}
	const isPublic = "is public"
	refused := func(t *testing.T, role Role, variable, wrong string, changes map[string]string) {
		t.Helper()
		setenv(t, complete(), everywhere, changes)
		_, err := Load(role)
		require.Equal(t, []string{variable}, variablesOf(err))
		require.ErrorContains(t, err, variable+" "+wrong)
		for _, value := range changes {
			if len(value) > len("false") {
				require.NotContains(t, err.Error(), value)
			}
		}
		for _, env := range []string{"development", "test", "staging"} {
			t.Setenv("ENV", env)
			_, err = Load(role)
			if wrong == isPublic && env != "development" {
				require.ErrorContains(t, err, variable+" "+wrong)
			} else {
				require.NoError(t, err)
			}
		}
	}

	t.Run("starts with two keys of each", func(t *testing.T) {
		setenv(t, complete(), everywhere)
		for _, role := range []Role{API, Consumer, Migrate} {
			_, err := Load(role)
			require.NoError(t, err)
		}
		cfg, err := Load(API)
		require.NoError(t, err)
		require.Equal(t, Secret(everywhere["JWT_SECRET_PREVIOUS"]), cfg.Secrets.JWTPrevious)
		require.Equal(t, Secret(everywhere["INTERNAL_KEY_PREVIOUS"]), cfg.Secrets.InternalPrevious)
		require.Equal(t, Key("a code key of thirty-two bytes.."), cfg.Secrets.CodeHMACPrevious)
		require.Equal(t, Key("a seal key of thirty-two bytes.."), cfg.Secrets.EventsSealPrevious)
		cfg, err = Load(Consumer)
		require.NoError(t, err)
		require.Empty(t, cfg.Secrets.JWTPrevious)
		require.NotEmpty(t, cfg.Secrets.CodeHMACPrevious)
	})

	t.Run("refuses cookies in clear", func(t *testing.T) {
		refused(t, API, "COOKIE_SECURE", "is false", map[string]string{"COOKIE_SECURE": "false"})
	})

	t.Run("refuses every secret of the compose file", func(t *testing.T) {
		compose, err := os.ReadFile("../deployments/compose.yaml")
		require.NoError(t, err)
		found := regexp.MustCompile(`(?m)^  ([A-Z_]+): (\S*)\$\{[A-Z_]*(?:PASSWORD|SECRET|KEY|TOKEN):-([^}]+)\}(\S*)$`).
			FindAllStringSubmatch(string(compose), -1)
		require.Len(t, found, 10)
		for _, line := range found {
			role := API
			if strings.HasPrefix(line[1], "CODE") || strings.HasPrefix(line[1], "CONSOLE") || strings.HasPrefix(line[1], "RABBITMQ_MANAGEMENT") {
				role = Consumer
			}
			refused(t, role, line[1], isPublic, map[string]string{line[1]: line[2] + line[3] + line[4]})
		}
		refused(t, API, "JWT_SECRET_PREVIOUS", isPublic, map[string]string{"JWT_SECRET_PREVIOUS": "ZGV2ZWxvcG1lbnQtb25seS1qd3Qtc2VjcmV0LTMyLWI="})
		refused(t, Consumer, "RABBITMQ_MANAGEMENT_URL", isPublic,
			map[string]string{"RABBITMQ_MANAGEMENT_URL": "http://identity:development-only@mq:15672"})
		refused(t, Migrate, "POSTGRES_PASSWORD", isPublic, map[string]string{"POSTGRES_PASSWORD": "development-only"})
	})

	t.Run("refuses keys of one byte", func(t *testing.T) {
		for _, variable := range []string{
			"JWT_SECRET", "JWT_SECRET_PREVIOUS", "INTERNAL_KEY", "INTERNAL_KEY_PREVIOUS",
		} {
			refused(t, API, variable, "is one byte, repeated", map[string]string{variable: strings.Repeat("s", 32)})
		}
		for _, variable := range []string{
			"CODE_HMAC_KEY", "CODE_HMAC_KEY_PREVIOUS", "EVENTS_SEAL_KEY", "EVENTS_SEAL_KEY_PREVIOUS", "TRIAL_DIGEST_KEY", "JWT_SECRET",
		} {
			refused(t, API, variable, "is one byte, repeated",
				map[string]string{variable: base64.StdEncoding.EncodeToString(make([]byte, 32))})
		}
	})

	t.Run("refuses equal keys", func(t *testing.T) {
		names := []string{
			"JWT_SECRET", "JWT_SECRET_PREVIOUS", "CODE_HMAC_KEY", "CODE_HMAC_KEY_PREVIOUS", "EVENTS_SEAL_KEY",
			"EVENTS_SEAL_KEY_PREVIOUS", "TRIAL_DIGEST_KEY", "INTERNAL_KEY", "INTERNAL_KEY_PREVIOUS",
		}
		for i, first := range names {
			for _, second := range names[i+1:] {
				same := base64.StdEncoding.EncodeToString([]byte("the same thirty-two bytes, twice"))
				refused(t, API, second, "is the same as "+first, map[string]string{first: same, second: same})
			}
		}
		refused(t, API, "JWT_SECRET_PREVIOUS", "is the same as JWT_SECRET; set it to the key before or the one to come, or unset it",
			map[string]string{"JWT_SECRET_PREVIOUS": jwt})
		refused(t, API, "CODE_HMAC_KEY", "is the same as JWT_SECRET; make one with", map[string]string{
			"JWT_SECRET":    "the same thirty-two bytes, twice",
			"CODE_HMAC_KEY": base64.StdEncoding.EncodeToString([]byte("the same thirty-two bytes, twice")),
		})
	})

	t.Run("refuses secrets that end in white space, unless that is allowed", func(t *testing.T) {
		for variable, value := range map[string]string{
			"JWT_SECRET": jwt, "JWT_SECRET_PREVIOUS": "hunter2 was a secret of some length",
			"POSTGRES_PASSWORD": "hunter2", "REDIS_PASSWORD": "hunter2",
		} {
			for _, end := range []string{"\n", "\r\n", " ", "\t"} {
				refused(t, API, variable, "ends in white space", map[string]string{variable: value + end})
				t.Setenv("ENV", "production")
				t.Setenv("ALLOW_SECRET_WHITESPACE", "true")
				cfg, err := Load(API)
				require.NoError(t, err)
				require.Len(t, cfg.Warnings(), 1)
			}
		}
		refused(t, API, "RABBITMQ_URL", "has a password that ends in white space",
			map[string]string{"RABBITMQ_URL": "amqp://u:hunter2%0A@mq:5672/"})
		refused(t, Migrate, "POSTGRES_PASSWORD", "ends in white space", map[string]string{"POSTGRES_PASSWORD": "hunter2\n"})
		refused(t, Consumer, "SMTP_PASSWORD", "ends in white space",
			map[string]string{"SMTP_USERNAME": "u", "SMTP_PASSWORD": "hunter2\n"})
	})

	t.Run("takes generated keys, whatever they end in", func(t *testing.T) {
		setenv(t, map[string]string{"ENV": "production", "COOKIE_SECURE": "true"})
		cfg, err := Load(Standalone)
		require.NoError(t, err)
		cfg.Secrets.JWT = Secret("a key that ends as one in 43 does\n")
		cfg.Secrets.CodeHMAC, cfg.Secrets.EventsSeal, cfg.Secrets.TrialDigest = bytes1, bytes2, bytes3
		require.NoError(t, cfg.Validate(Standalone))
	})

	t.Run("names everything it refuses at once", func(t *testing.T) {
		setenv(t, complete(), everywhere, map[string]string{
			"COOKIE_SECURE": "false", "POSTGRES_PASSWORD": "hunter2\n", "INTERNAL_KEY": strings.Repeat("s", 32),
			"JWT_SECRET": "development-only-jwt-secret-32-b", "EVENTS_SEAL_KEY": key1, "ENV": "production",
		})
		_, err := Load(API)
		require.ElementsMatch(t, []string{
			"COOKIE_SECURE", "POSTGRES_PASSWORD", "INTERNAL_KEY", "JWT_SECRET", "EVENTS_SEAL_KEY",
		}, variablesOf(err))
	})

	t.Run("refuses a second internal key without a first", func(t *testing.T) {
		setenv(t, complete(), map[string]string{"INTERNAL_KEY_PREVIOUS": "an internal key, 2"})
		_, err := Load(API)
		require.ErrorContains(t, err, "INTERNAL_KEY is not set although INTERNAL_KEY_PREVIOUS is; set it, or unset both")
	})
}

func TestRisks(t *testing.T) {
	t.Parallel()
	none := func(origins ...string) Config {
		return Config{Cookie: Cookie{SameSite: http.SameSiteNoneMode}, HTTP: HTTP{Origins: origins}}
	}
	database := func(mode, host string) Config { return Config{Postgres: Postgres{SSLMode: mode, Host: host}} }
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"nothing set", Config{}, ""},
		{"SameSite=None with an origin", none("https://app.smap.example"), ""},
		{"SameSite=None without", none(), "COOKIE_SAMESITE is none"},
		{"lax without", Config{Cookie: Cookie{SameSite: http.SameSiteLaxMode}}, ""},
		{"a database elsewhere in clear", database("disable", "db.smap.example"), "POSTGRES_SSLMODE is disable"},
		{"by address", database("disable", "10.0.0.7"), "POSTGRES_SSLMODE is disable"},
		{"elsewhere, encrypted where it can be", database("prefer", "db.smap.example"), ""},
		{"on localhost", database("disable", "localhost"), ""},
		{"on loopback", database("disable", netip.IPv6Loopback().String()), ""},
		{"by a socket", database("disable", "/var/run/postgresql"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			risks := tt.cfg.Risks()
			if tt.want == "" {
				require.Empty(t, risks)
				return
			}
			require.Len(t, risks, 1)
			require.Contains(t, risks[0], tt.want)
			require.Contains(t, risks[0], "; set ")
			require.NotContains(t, risks[0], "smap.example")
		})
	}
}
