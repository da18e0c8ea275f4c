package config

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Values of the previous release that this one refuses are refused by name, and named in the migration guide.
func TestPreviousRelease(t *testing.T) {
	guide, err := os.ReadFile("../docs/migration-guide.md")
	require.NoError(t, err)
	_, week0, found := strings.Cut(string(guide), "#### Settings that have to change")
	require.True(t, found)
	week0, _, _ = strings.Cut(week0, "### Week 1")

	for setting, role := range map[string]Role{
		"INTERNAL_KEY=12345678":                  API,
		"JWT_SECRET=secret":                      API,
		"ENV=staging2":                           Consumer,
		"LOGGER_LEVEL=fatal":                     API,
		"LOGGER_LEVEL=warning":                   Consumer,
		"HOST=0.0.0.0:8080":                      API,
		"APP_PORT=:8080":                         API,
		"POSTGRES_HOST=db:5432":                  Migrate,
		"COOKIE_SECURE=false":                    API,
		"COOKIE_MAX_AGE=2h":                      API,
		"COOKIE_MAX_AGE=0":                       API,
		"COOKIE_SAMESITE=default":                API,
		"COOKIE_DOMAIN=https://smap.example":     API,
		"SMTP_HOST=mail.example.com:587":         Consumer,
		"SMTP_FROM=SMAP <no-reply@smap.example>": Consumer,
		"SMTP_USERNAME=robot":                    Consumer, // its problem is the password that is missing
	} {
		t.Run("refuses "+setting, func(t *testing.T) {
			name, value, _ := strings.Cut(setting, "=")
			setenv(t, complete(), map[string]string{name: value})
			_, err := Load(role)
			require.Len(t, variablesOf(err), 1)
			require.ErrorContains(t, err, name)
			require.Contains(t, week0, "`"+setting+"`")
		})
	}

	for setting, want := range map[string]func(Config) bool{
		"SMTP_PORT=465":                 func(cfg Config) bool { return cfg.SMTP.TLS == "tls" },
		"SMTP_PORT=587":                 func(cfg Config) bool { return cfg.SMTP.TLS == "starttls" },
		"REDIS_HOST=redis:6379":         func(cfg Config) bool { return cfg.Redis.Addr() == "redis:6379" },
		"POSTGRES_SSLMODE=require":      func(cfg Config) bool { return cfg.Postgres.SSLMode == "require" },
		"LOGGER_LEVEL=DEBUG":            func(cfg Config) bool { return cfg.Log.Level == "debug" },
		"COOKIE_DOMAIN=.smap.com":       func(cfg Config) bool { return cfg.Cookie.Domain == ".smap.com" },
		"COOKIE_SAMESITE=None":          func(cfg Config) bool { return cfg.Cookie.SameSite == sameSite["none"] },
		"INTERNAL_KEY=1234567890123456": func(cfg Config) bool { return len(cfg.Secrets.Internal) == 16 },
	} {
		t.Run("takes "+setting, func(t *testing.T) {
			name, value, _ := strings.Cut(setting, "=")
			role := API
			if strings.HasPrefix(name, "SMTP") {
				role = Consumer
			}
			setenv(t, complete(), map[string]string{name: value})
			cfg, err := Load(role)
			require.NoError(t, err)
			require.True(t, want(cfg))
		})
	}
}
