package config

import "slices"

// variable is one environment variable the service knows.
type variable struct {
	name       string
	fallback   string // its value when unset; empty: none
	standalone string // its value when unset in the standalone; empty: the same
	roles      []Role // the roles that read it
}

var (
	all      = []Role{API, Consumer, Standalone, Migrate, Support, Resend}
	servers  = []Role{API, Consumer, Standalone}
	web      = []Role{API, Standalone}
	worker   = []Role{Consumer, Standalone}
	database = []Role{API, Consumer, Migrate, Support, Resend} // the standalone's database is a file in DATA_DIR
	remote   = []Role{API, Consumer}
	copies   = []Role{API, Consumer, Resend}
	sealing  = []Role{API, Consumer, Standalone, Resend}
	digests  = []Role{API, Consumer, Standalone, Support, Resend}
	mailing  = []Role{Consumer}
	embedded = []Role{Standalone}
)

// variables is every variable of the service. A program reads no other.
var variables = []variable{
	{"ENV", "production", "development", all},
	{"LOGGER_LEVEL", "info", "", all},
	{"LOGGER_FORMAT", "auto", "", all},
	{"START_TIMEOUT", "60s", "", all},
	{"SHUTDOWN_TIMEOUT", "20s", "", servers},
	{"DRAIN_DELAY", "3s", "0s", servers},
	{"OTEL_EXPORTER_OTLP_ENDPOINT", "", "", servers},

	{"HOST", "0.0.0.0", "127.0.0.1", servers},
	{"APP_PORT", "8080", "", web},
	{"INTERNAL_PORT", "", "", web},
	{"CONSUMER_PORT", "8081", "", worker},
	{"CONSOLE_ADDR", "", "", mailing},
	{"CONSOLE_TOKEN", "", "", mailing},
	{"CONSOLE_HOSTS", "", "", mailing},
	{"CONSOLE_READONLY", "false", "", mailing},
	{"CORS_ORIGINS", "", "", web},
	{"TRUSTED_PROXIES", "", "", web},

	{"POSTGRES_HOST", "", "", database},
	{"POSTGRES_PORT", "5432", "", database},
	{"POSTGRES_USER", "", "", database},
	{"POSTGRES_PASSWORD", "", "", database},
	{"POSTGRES_DB", "", "", database},
	{"POSTGRES_SSLMODE", "prefer", "", database},
	{"POSTGRES_MAX_CONNS", "20", "", database},
	{"POSTGRES_EXEC_MODE", "cached", "", database},
	{"DB_AUTO_MIGRATE", "true", "", remote},

	{"RABBITMQ_URL", "", "", remote},
	{"RABBITMQ_MANAGEMENT_URL", "", "", mailing},
	{"EVENTS_MIGRATION_PHASE", "complete", "", copies},
	{"EVENTS_CONSUME_LEGACY", "on", "", mailing},
	{"EMAIL_WORKERS", "8", "", worker},
	{"EMAIL_PREFETCH", "16", "", worker},
	{"INVITATION_WORKERS", "8", "", worker},
	{"INVITATION_PREFETCH", "16", "", worker},
	{"SUBSCRIPTION_WORKERS", "8", "", worker},
	{"SUBSCRIPTION_PREFETCH", "32", "", worker},
	{"PROJECT_WORKERS", "8", "", worker},
	{"PROJECT_PREFETCH", "32", "", worker},
	{"INVITATIONS_PER_SECOND", "20", "", servers},
	{"INVITATION_URL", "", "", worker},
	{"PAST_DUE_GRACE", "336h", "", all},
	{"PASSWORD_MIN_LENGTH", "8", "", web},
	{"UNVERIFIED_KEPT_FOR", "168h", "", worker},
	{"ERASE_AFTER", "720h", "", sealing},
	{"AUDIT_DETAILS_FOR", "8760h", "", worker},
	{"SUBSCRIPTION_SCHEDULER", "", "", worker},

	{"REDIS_HOST", "", "", remote},
	{"REDIS_PORT", "6379", "", remote},
	{"REDIS_USERNAME", "", "", remote},
	{"REDIS_PASSWORD", "", "", remote},
	{"REDIS_TLS", "false", "", remote},
	{"REDIS_SENTINEL_ADDRS", "", "", remote},
	{"REDIS_SENTINEL_MASTER", "", "", remote},
	{"REDIS_SENTINEL_PASSWORD", "", "", remote},
	{"REDIS_STATE_DB", "1", "", servers},
	{"REDIS_CACHE_DB", "0", "", servers},
	{"PROGRESS_CHANNELS", "project", "", servers},

	{"SMTP_HOST", "", "", mailing},
	{"SMTP_PORT", "587", "1025", worker},
	{"SMTP_TLS", "", "", mailing},
	{"SMTP_USERNAME", "", "", mailing},
	{"SMTP_PASSWORD", "", "", mailing},
	{"SMTP_FROM", "", "no-reply@smap.local", worker},
	{"SMTP_FROM_NAME", "SMAP", "", worker},
	{"SMTP_TIMEOUT", "30s", "", worker},
	{"SMTP_HELLO_NAME", "", "", worker},
	{"SMTP_CONNECTIONS", "16", "", worker},
	{"SMTP_MAILS_PER_CONNECTION", "100", "", worker},
	{"SMTP_IDLE", "30s", "", worker},

	{"JWT_SECRET", "", "", web},
	{"JWT_SECRET_PREVIOUS", "", "", web},
	{"CODE_HMAC_KEY", "", "", digests},
	{"CODE_HMAC_KEY_PREVIOUS", "", "", digests},
	{"EVENTS_SEAL_KEY", "", "", sealing},
	{"EVENTS_SEAL_KEY_PREVIOUS", "", "", sealing},
	{"TRIAL_DIGEST_KEY", "", "", servers},
	{"INTERNAL_KEY", "", "", web},
	{"INTERNAL_KEY_PREVIOUS", "", "", web},
	{"ALLOW_SECRET_WHITESPACE", "false", "", all},

	{"COOKIE_NAME", "smap_auth_token", "", web},
	{"COOKIE_DOMAIN", "", "", web},
	{"COOKIE_SECURE", "true", "false", web},
	{"COOKIE_SAMESITE", "lax", "", web},
	{"COOKIE_MAX_AGE", "7200", "", web},
	{"COOKIE_MAX_AGE_REMEMBER", "2592000", "", web},

	{"DATA_DIR", ".data", "", embedded},
	{"INBOX_PORT", "8025", "", embedded},
	{"STANDALONE_PUBLIC", "false", "", embedded},
}

// uses reports whether role reads the variable. It panics on a name that is not in the table, a defect of this package.
func (role Role) uses(name string) bool { return slices.Contains(lookup(name).roles, role) }

func lookup(name string) variable {
	i := slices.IndexFunc(variables, func(v variable) bool { return v.name == name })
	if i < 0 {
		panic("config: " + name + " is not in the table of variables")
	}
	return variables[i]
}

func (v variable) fallbackFor(role Role) string {
	if role == Standalone && v.standalone != "" {
		return v.standalone
	}
	return v.fallback
}
