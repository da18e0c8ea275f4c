package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

var (
	bytes1   = bytes.Repeat([]byte{1, 9}, 16)
	bytes2   = bytes.Repeat([]byte{2, 9}, 16)
	bytes3   = bytes.Repeat([]byte{3, 9}, 16)
	key1     = base64.StdEncoding.EncodeToString(bytes1)
	key2     = base64.StdEncoding.EncodeToString(bytes2)
	key3     = base64.StdEncoding.EncodeToString(bytes3)
	password = "p@ss/w:o?r#d%"
	jwt      = strings.Repeat("jw", 16)
)

// complete returns an environment in which every role starts.
func complete() map[string]string {
	return map[string]string{
		"POSTGRES_HOST": "db", "POSTGRES_USER": "identity", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "identity",
		"RABBITMQ_URL": "amqp://identity:hunter2@mq:5672/", "REDIS_HOST": "redis",
		"SMTP_HOST": "mail.example.com", "SMTP_FROM": "no-reply@example.com",
		"JWT_SECRET": jwt, "CODE_HMAC_KEY": key1, "EVENTS_SEAL_KEY": key2, "TRIAL_DIGEST_KEY": key3,
	}
}

func setenv(t *testing.T, layers ...map[string]string) {
	t.Helper()
	clearEnvironment(t)
	all := map[string]string{}
	for _, layer := range layers {
		maps.Copy(all, layer)
	}
	for name, value := range all {
		t.Setenv(name, value)
	}
}

func TestLoad(t *testing.T) {
	t.Run("reads what the api uses", func(t *testing.T) {
		setenv(t, complete())
		cfg, err := Load(API)
		require.NoError(t, err)
		require.NoError(t, cfg.Validate(API))
		require.Equal(t, Config{
			Service: Service{
				Env: "production", StartTimeout: time.Minute, ShutdownTimeout: 20 * time.Second, DrainDelay: 3 * time.Second,
			},
			Log:  Log{Level: "info", Format: "auto"},
			HTTP: HTTP{Host: "0.0.0.0", AppPort: 8080, Proxies: insideRanges},
			Postgres: Postgres{
				Host: "db", Port: 5432, User: "identity", Password: Secret(password), Database: "identity",
				SSLMode: "prefer", MaxConns: 20, ExecMode: "cached", AutoMigrate: true,
			},
			RabbitMQ: RabbitMQ{URL: "amqp://identity:hunter2@mq:5672/"},
			Events:   Events{Phase: "complete"},
			Redis:    Redis{Host: "redis", Port: 6379, StateDB: 1, ProgressChannels: "project"},
			Secrets: Secrets{
				JWT: Secret(jwt), CodeHMAC: bytes1, EventsSeal: bytes2,
				TrialDigest: bytes3,
			},
			Cookie: Cookie{
				Name: "smap_auth_token", Secure: true, SameSite: http.SameSiteLaxMode,
				MaxAge: 2 * time.Hour, MaxAgeRemember: 30 * 24 * time.Hour,
			},
			Invitations:   Invitations{PerSecond: 20},
			Accounts:      Accounts{MinPasswordChars: 8, EraseAfter: 30 * 24 * time.Hour},
			Subscriptions: Subscriptions{PastDueGrace: 14 * 24 * time.Hour},
		}, cfg, "what the api does not use stays zero")
	})

	t.Run("the scheduler is on where nothing of the previous release is left", func(t *testing.T) {
		for phase, on := range map[string]bool{"prepare": false, "dual": false, "cutover": false, "complete": true, "": true} {
			for set, want := range map[string]bool{"": on, "on": true, "off": false} {
				setenv(t, complete(), map[string]string{"EVENTS_MIGRATION_PHASE": phase, "SUBSCRIPTION_SCHEDULER": set})
				cfg, err := Load(Consumer)
				require.NoError(t, err)
				require.Equal(t, want, cfg.Subscriptions.Scheduler, "phase %q, set to %q", phase, set)
			}
		}
		setenv(t, complete(), map[string]string{"SUBSCRIPTION_SCHEDULER": "sometimes"})
		_, err := Load(Consumer)
		require.ErrorContains(t, err, "SUBSCRIPTION_SCHEDULER")
		cfg, err := Load(Standalone)
		require.ErrorContains(t, err, "SUBSCRIPTION_SCHEDULER")
		require.Zero(t, cfg)
		setenv(t, complete(), map[string]string{"EVENTS_MIGRATION_PHASE": "prepare"})
		cfg, err = Load(Standalone)
		require.NoError(t, err)
		require.True(t, cfg.Subscriptions.Scheduler)
	})

	t.Run("reads what the consumer uses", func(t *testing.T) {
		setenv(t, complete(), map[string]string{"JWT_SECRET": "too short, and none of the consumer's business"})
		cfg, err := Load(Consumer)
		require.NoError(t, err)
		require.NoError(t, cfg.Validate(Consumer))
		require.Equal(t, HTTP{Host: "0.0.0.0", ConsumerPort: 8081}, cfg.HTTP)
		require.Equal(t, SMTP{
			Host: "mail.example.com", Port: 587, TLS: "starttls",
			From: "no-reply@example.com", FromName: "SMAP", Timeout: 30 * time.Second, HelloName: "example.com",
			Connections: 16, MailsPerConnection: 100, Idle: 30 * time.Second,
		}, cfg.SMTP)
		require.Equal(t, Workers{Count: 8, Prefetch: 16}, cfg.Email)
		require.Equal(t, Workers{Count: 8, Prefetch: 32}, cfg.Subscription)
		require.Equal(t, Workers{Count: 8, Prefetch: 32}, cfg.Project)
		require.Equal(t, Invitations{PerSecond: 20}, cfg.Invitations)
		require.Equal(t, Events{Phase: "complete", ConsumeLegacy: true}, cfg.Events)
		require.Equal(t, Secrets{
			CodeHMAC:    bytes1,
			EventsSeal:  bytes2,
			TrialDigest: bytes3,
		}, cfg.Secrets)
		require.Zero(t, cfg.Cookie)
		require.Zero(t, cfg.Embedded)
	})

	t.Run("the console lets strangers in with a token alone", func(t *testing.T) {
		const good = "twenty-four characters.."
		for _, c := range []struct{ addr, token, hosts, wrong string }{
			{"", "", "", ""}, {"127.0.0.1:8090", "", "", ""}, {"[::1]:8090", "", "", ""}, {"localhost:0", "", "", ""},
			{"0.0.0.0:8090", good, "console.smap.internal, other", ""}, {":8090", good, "", ""},
			{"0.0.0.0:8090", "", "", "CONSOLE_TOKEN is not set although CONSOLE_ADDR lets other machines in"},
			{":8090", "", "", "CONSOLE_TOKEN is not set"}, {"console:8090", "", "", "CONSOLE_TOKEN is not set"},
			{"127.0.0.1:8090", "too short", "", "CONSOLE_TOKEN is shorter than 22 bytes"},
			{"127.0.0.1:8090", good + "\n", "", "CONSOLE_TOKEN holds what cannot be typed"},
			{"127.0.0.1", "", "", "CONSOLE_ADDR is not an address with a port"}, {"127.0.0.1:http", "", "", "CONSOLE_ADDR is not"},
			{"127.0.0.1:70000", "", "", "CONSOLE_ADDR is not"}, {"127.0.0.1:8090", "", "*.smap.internal", "CONSOLE_HOSTS has what is no host name"},
			{"127.0.0.1:8090", "", "https://x", "CONSOLE_HOSTS has what is no host name"},
		} {
			setenv(t, complete(), map[string]string{"CONSOLE_ADDR": c.addr, "CONSOLE_TOKEN": c.token, "CONSOLE_HOSTS": c.hosts})
			_, err := Load(Consumer)
			if c.wrong == "" {
				require.NoError(t, err, c.addr)
			} else {
				require.ErrorContains(t, err, c.wrong)
				require.NotContains(t, err.Error(), good)
			}
			_, err = Load(API)
			require.NoError(t, err)
		}
	})

	t.Run("needs the database alone for migrations", func(t *testing.T) {
		setenv(t, map[string]string{
			"POSTGRES_HOST": "db", "POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d", "SMTP_PORT": "what?",
		})
		cfg, err := Load(Migrate)
		require.NoError(t, err)
		require.NoError(t, cfg.Validate(Migrate))
		require.Equal(t, "db", cfg.Postgres.Host)
		require.Zero(t, cfg.HTTP)
	})

	t.Run("needs nothing for the standalone", func(t *testing.T) {
		clearEnvironment(t)
		cfg, err := Load(Standalone)
		require.NoError(t, err)
		require.Equal(t, HTTP{Host: "127.0.0.1", AppPort: 8080, ConsumerPort: 8081, LocalOrigins: true, Proxies: insideRanges}, cfg.HTTP)
		require.Equal(t, Embedded{DataDir: ".data", InboxPort: 8025}, cfg.Embedded)
		require.Equal(t, SMTP{
			Host: "127.0.0.1", Port: 1025, TLS: "none",
			From: "no-reply@smap.local", FromName: "SMAP", Timeout: 30 * time.Second, HelloName: "smap.local",
			Connections: 16, MailsPerConnection: 100, Idle: 30 * time.Second,
		}, cfg.SMTP)
		require.False(t, cfg.Cookie.Secure)
		require.Equal(t, "development", cfg.Service.Env)
		require.Zero(t, cfg.Postgres)
		require.Equal(t, Redis{StateDB: 1, ProgressChannels: "project"}, cfg.Redis)

		require.Equal(t, []string{"JWT_SECRET", "CODE_HMAC_KEY", "EVENTS_SEAL_KEY", "TRIAL_DIGEST_KEY"}, variablesOf(cfg.Validate(Standalone)),
			"the secrets are the starter's to fill in")
		cfg.Secrets.JWT = Secret(jwt)
		cfg.Secrets.CodeHMAC = make([]byte, 32)
		cfg.Secrets.EventsSeal, cfg.Secrets.TrialDigest = make([]byte, 31), make([]byte, 33)
		require.Equal(t, []string{"EVENTS_SEAL_KEY", "TRIAL_DIGEST_KEY"}, variablesOf(cfg.Validate(Standalone)))
		cfg.Secrets.TrialDigest = make([]byte, 32)
		cfg.Secrets.EventsSeal = make([]byte, 32)
		require.NoError(t, cfg.Validate(Standalone))
	})

	t.Run("ignores servers and allows any port in the standalone", func(t *testing.T) {
		setenv(t, complete(), map[string]string{
			"SMTP_TLS": "tls", "SMTP_USERNAME": "real", "APP_PORT": "0", "INTERNAL_PORT": "0", "CONSUMER_PORT": "0", "SMTP_PORT": "0", "INBOX_PORT": "0",
		})
		cfg, err := Load(Standalone)
		require.NoError(t, err)
		require.Zero(t, cfg.Postgres)
		require.Zero(t, cfg.RabbitMQ)
		require.Empty(t, cfg.Redis.Host)
		require.Equal(t, "127.0.0.1", cfg.SMTP.Host, "no real mail from a laptop")
		require.Equal(t, "none", cfg.SMTP.TLS)
		require.Empty(t, cfg.SMTP.Username)
		require.Zero(t, *cfg.HTTP.InternalPort+cfg.HTTP.AppPort+cfg.HTTP.ConsumerPort+cfg.SMTP.Port+cfg.Embedded.InboxPort)
		require.Equal(t, Secret(jwt), cfg.Secrets.JWT, "secrets that are set are kept")
	})

	t.Run("reads every value", func(t *testing.T) {
		setenv(t, complete(), map[string]string{
			"ENV": "Staging", "LOGGER_LEVEL": "DEBUG", "LOGGER_FORMAT": " json ", "START_TIMEOUT": "0s",
			"SHUTDOWN_TIMEOUT": "1m30s", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel:4318", "HOST": "::1", "APP_PORT": "1", "INTERNAL_PORT": "2",
			"POSTGRES_PORT": "2", "POSTGRES_SSLMODE": "verify-full", "POSTGRES_MAX_CONNS": "3", "DB_AUTO_MIGRATE": "false",
			"POSTGRES_EXEC_MODE": "exec",
			"REDIS_HOST":         "cache:7000", "REDIS_PORT": "tcp://10.0.0.1:6379", "REDIS_PASSWORD": " r ", "REDIS_STATE_DB": "4",
			"REDIS_CACHE_DB": "5", "PROGRESS_CHANNELS": "user_noti", "INTERNAL_KEY": strings.Repeat("in", 8), "COOKIE_NAME": "c", "COOKIE_DOMAIN": ".smap.example",
			"COOKIE_SAMESITE": "none", "COOKIE_MAX_AGE": "60", "COOKIE_MAX_AGE_REMEMBER": "61",
		})
		cfg, err := Load(API)
		require.NoError(t, err)
		require.Equal(t, Service{
			Env: "staging", ShutdownTimeout: 90 * time.Second, DrainDelay: 3 * time.Second, OTLPEndpoint: "https://otel:4318",
		}, cfg.Service)
		require.Equal(t, Log{Level: "debug", Format: "json"}, cfg.Log)
		require.Equal(t, HTTP{Host: "::1", AppPort: 1, InternalPort: new(2), Proxies: insideRanges}, cfg.HTTP)
		require.Equal(t, Postgres{
			Host: "db", Port: 2, User: "identity", Password: Secret(password), Database: "identity",
			SSLMode: "verify-full", MaxConns: 3, ExecMode: "exec",
		}, cfg.Postgres)
		require.Equal(t, Redis{
			Host: "cache:7000", Password: " r ", StateDB: 4, CacheDB: 5, ProgressChannels: "user_noti",
		}, cfg.Redis, "a port in the host wins, whatever Kubernetes put into REDIS_PORT")
		require.Equal(t, Secret("inininininininin"), cfg.Secrets.Internal)
		require.Equal(t, Cookie{
			Name: "c", Domain: ".smap.example", Secure: true, SameSite: http.SameSiteNoneMode,
			MaxAge: time.Minute, MaxAgeRemember: 61 * time.Second,
		}, cfg.Cookie)
	})

	t.Run("refuses an invalid value", func(t *testing.T) {
		tests := []struct {
			role             Role
			variable, value  string
			wrong, fix       string
			alsoSet, alsoVal string
		}{
			{API, "ENV", "prod", `is "prod"`, "one of production, staging, development, test", "", ""},
			{API, "LOGGER_LEVEL", "loud", `is "loud"`, "one of trace", "", ""},
			{API, "LOGGER_FORMAT", "xml", `is "xml"`, "one of auto, json, pretty", "", ""},
			{API, "START_TIMEOUT", "60", `is "60"`, "a duration such as 30s", "", ""},
			{API, "START_TIMEOUT", "-1s", `is "-1s"`, "from 0s", "", ""},
			{API, "SHUTDOWN_TIMEOUT", "0s", `is "0s"`, "from 1s", "", ""},
			{API, "OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "is not an HTTP URL", "http://collector:4318", "", ""},
			{API, "HOST", "0.0.0.0:8080", "is not a host", "without port", "", ""},
			{API, "HOST", "[::1]:8080", "is not a host", "without port", "", ""},
			{API, "ENV", "/etc/profile.d/x.sh", `is "/etc/profile.d/x.sh", a file for a shell`, "for this process", "", ""},
			{API, "POSTGRES_HOST", "db:5432", "is not a host name", "POSTGRES_PORT", "", ""},
			{Consumer, "SMTP_HOST", "mail:25", "is not a host name", "SMTP_PORT", "", ""},
			{API, "INTERNAL_KEY", "0123456789abcdef\r", "holds what no HTTP header can carry", "check the file", "", ""},
			{API, "INTERNAL_KEY", "0123456789abcdef\n", "holds what no HTTP header can carry", "check the file", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a/,amqp://u:hunter3@b/", "has another user or password", "once or in each", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a/,amqp://v:hunter2@b/", "has another user or password", "once or in each", "", ""},
			{API, "RABBITMQ_URL", "amqp://a/,amqp://u:hunter2@b/", "has another user or password", "once or in each", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:12,hunter2@a/", "has another user or password", "%2C", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2,12@a/", "has a node that is no such URL", "%2C", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a/one,amqp://b/two", "has another virtual host", "once or in each", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a/one,amqp://b/", "has another virtual host", "once or in each", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a,amqps://b", "has nodes with and without TLS", "amqps://", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a,http://b", "has a node that is no such URL", "amqp://", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a,amqp://A", "names a node twice", "commas", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a,,amqp://b", "has an empty place", "commas", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a,amqp://b,", "has an empty place", "commas", "", ""},
			{API, "RABBITMQ_URL", ",amqp://u:hunter2@a", "has an empty place", "commas", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a, amqp://b", "has white space", "commas", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@a;amqp://b", "is not an AMQP URL", "amqp://", "", ""},
			{API, "RABBITMQ_URL", "a:5672,amqp://u:hunter2@b", "has a node that is no such URL", "amqp://", "", ""},
			{Consumer, "RABBITMQ_MANAGEMENT_URL", "http://u:hunter2@a,http://v:hunter2@b", "has another user", "unset it", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:12/hunter2@mq:5672/", "is not an AMQP URL", "%-escaped", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:12?hunter2@mq:5672/", "is not an AMQP URL", "%-escaped", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:12#hunter2@mq:5672/", "is not an AMQP URL", "%-escaped", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@mq:5672/ ", "is not an AMQP URL", "%-escaped", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2@mq:5672/\n", "is not an AMQP URL", "%-escaped", "", ""},
			{API, "POSTGRES_HOST", "db1,", "has an entry that is not HOST", "HOST,HOST", "", ""},
			{API, "POSTGRES_HOST", "db1,db2:x", "has an entry that is not HOST", "HOST,HOST", "", ""},
			{API, "POSTGRES_HOST", "db1,u:hunter2@db2", "has an entry that is not HOST", "HOST,HOST", "", ""},
			{API, "POSTGRES_HOST", "db1,/run/postgresql", "has an entry that is not HOST", "HOST,HOST", "", ""},
			{API, "POSTGRES_HOST", "db1:5432,db1:5432", "names a host twice", "HOST,HOST", "", ""},
			{API, "REDIS_HOST", "r1:6379,r2:6379", "is not one host name", "HOST:PORT", "", ""},
			{API, "REDIS_HOST", ":6379", "is not one host name", "HOST:PORT", "", ""},
			{API, "REDIS_HOST", ":hunter2@redis:6379", "is not one host name", "HOST:PORT", "", ""},
			{API, "REDIS_HOST", "[::1", "is not one host name", "HOST:PORT", "", ""},
			{Consumer, "SMTP_HOST", "mx1,mx2", "is not a host name", "one host name", "", ""},
			{API, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:hunter2@collector:4318", "has a user", "OTEL_EXPORTER_OTLP_HEADERS", "", ""},
			{Consumer, "RABBITMQ_MANAGEMENT_URL", "http://u:hunter2@mq:x", "is not an HTTP URL", "15672", "", ""},
			{API, "APP_PORT", "65536", `is "65536"`, "from 0 to 65535", "", ""},
			{API, "APP_PORT", "http", `is "http"`, "whole number", "", ""},
			{API, "REDIS_PASSWORD", "", "is not set although REDIS_USERNAME is", "unset REDIS_USERNAME", "REDIS_USERNAME", "identity"},
			{API, "REDIS_TLS", "perhaps", `is "perhaps"`, "true or false", "", ""},
			{API, "INTERNAL_PORT", "65536", `is "65536"`, "from 0 to 65535", "", ""},
			{API, "INTERNAL_PORT", ":9090", `is ":9090"`, "whole number", "", ""},
			{API, "INTERNAL_PORT", "8080", "is the same as APP_PORT", "unset it", "", ""},
			{API, "INTERNAL_PORT", "9090", "is the same as APP_PORT", "unset it", "APP_PORT", "9090"},
			{Standalone, "INTERNAL_PORT", "8081", "is the same as CONSUMER_PORT", "unset it", "", ""},
			{Consumer, "CONSUMER_PORT", "-1", `is "-1"`, "whole number", "", ""},
			{API, "POSTGRES_HOST", "postgres://u:hunter2@db", "is a URL", "host name alone", "", ""},
			{API, "POSTGRES_PORT", "0", `is "0"`, "from 1 to 65535", "", ""},
			{API, "POSTGRES_SSLMODE", "on", `is "on"`, "disable", "", ""},
			{API, "POSTGRES_MAX_CONNS", "1", `is "1"`, "from 2", "", ""},
			{API, "POSTGRES_EXEC_MODE", "simple", `is "simple"`, "one of cached, exec", "", ""},
			{API, "DB_AUTO_MIGRATE", "perhaps", `is "perhaps"`, "true or false", "", ""},
			{API, "RABBITMQ_URL", "http://u:hunter2@mq", "is not an AMQP URL", "amqp://", "", ""},
			{API, "RABBITMQ_URL", "amqp://u:hunter2%zz@mq", "is not an AMQP URL", "amqp://", "", ""},
			{API, "RABBITMQ_URL", "amqp://", "is not an AMQP URL", "amqp://", "", ""},
			{Consumer, "RABBITMQ_MANAGEMENT_URL", "amqp://u:hunter2@mq:15672", "is not an HTTP URL", "http://", "", ""},
			{API, "EVENTS_MIGRATION_PHASE", "both", `is "both"`, "prepare, dual, cutover, complete", "", ""},
			{Consumer, "EVENTS_CONSUME_LEGACY", "maybe", `is "maybe"`, "on, off", "", ""},
			{Consumer, "EMAIL_WORKERS", "0", `is "0"`, "from 1", "", ""},
			{Consumer, "EMAIL_PREFETCH", "3", "is less than EMAIL_WORKERS", "raise it", "", ""},
			{Consumer, "SUBSCRIPTION_PREFETCH", "many", `is "many"`, "whole number", "", ""},
			{API, "REDIS_HOST", "redis://:hunter2@r", "is a URL", "HOST:PORT", "", ""},
			{API, "REDIS_HOST", "redis:port", "has a port that is not a number", "HOST:PORT", "", ""},
			{API, "REDIS_PORT", "tcp://10.0.0.1:6379", `is "tcp://10.0.0.1:6379"`, "enableServiceLinks", "", ""},
			{API, "PROGRESS_CHANNELS", "user", `is "user"`, "project, user_noti, both", "", ""},
			{API, "REDIS_STATE_DB", "-1", `is "-1"`, "from 0", "", ""},
			{Consumer, "SMTP_HOST", "smtp://mail", "is not a host name", "SMTP_PORT", "", ""},
			{Consumer, "SMTP_PORT", "0", `is "0"`, "from 1", "", ""},
			{Consumer, "SMTP_CONNECTIONS", "1", `is "1"`, "from 2", "", ""},
			{Consumer, "SMTP_HELLO_NAME", "two words", "is not a host name", "mail.example.com", "", ""},
			{Consumer, "SMTP_TLS", "ssl", `is "ssl"`, "starttls", "", ""},
			{Consumer, "SMTP_TLS", "none", "is none although SMTP_USERNAME is set", "starttls or tls", "SMTP_USERNAME", "u"},
			{Consumer, "SMTP_FROM", "SMAP <a@example.com>", "is not one bare ASCII address", "SMTP_FROM_NAME", "", ""},
			{Consumer, "SMTP_FROM", "ä@example.com", "is not one bare ASCII address", "no-reply@example.com", "", ""},
			{Consumer, "SMTP_FROM_NAME", "a\r\nBcc: b@example.com", "has a line break", "one line", "", ""},
			{Consumer, "SMTP_TIMEOUT", "6m", `is "6m"`, "to 5m0s", "", ""},
			{API, "JWT_SECRET", "hunter2", "is shorter than 32 bytes", "openssl", "", ""},
			{API, "CODE_HMAC_KEY", "hunter2!", "is not the base64 form of 32 bytes", "openssl rand -base64 32", "", ""},
			{API, "EVENTS_SEAL_KEY", "aHVudGVyMg==", "is not the base64 form of 32 bytes", "openssl rand -base64 32", "", ""},
			{API, "TRIAL_DIGEST_KEY", "aHVudGVyMg==", "is not the base64 form of 32 bytes", "openssl rand -base64 32", "", ""},
			{API, "INTERNAL_KEY", "hunter2", "is shorter than 16 bytes", "openssl", "", ""},
			{API, "COOKIE_NAME", "a b", "is not a cookie name", "letters", "", ""},
			{API, "COOKIE_DOMAIN", "https://smap.example", "is not a domain", "without scheme", "", ""},
			{API, "COOKIE_SAMESITE", "no", `is "no"`, "lax, strict, none", "", ""},
			{Standalone, "COOKIE_SAMESITE", "none", "is none although COOKIE_SECURE is false", "COOKIE_SECURE=true", "COOKIE_SECURE", "false"},
			{API, "COOKIE_SECURE", "false", "is false", "HTTPS", "", ""},
			{API, "JWT_SECRET_PREVIOUS", "hunter2", "is shorter than 32 bytes", "openssl", "", ""},
			{API, "CODE_HMAC_KEY_PREVIOUS", "hunter2!", "is not the base64 form of 32 bytes", "openssl rand -base64 32", "", ""},
			{Consumer, "EVENTS_SEAL_KEY_PREVIOUS", "aHVudGVyMg==", "is not the base64 form of 32 bytes", "openssl", "", ""},
			{API, "INTERNAL_KEY_PREVIOUS", "hunter2", "is shorter than 16 bytes", "openssl", "INTERNAL_KEY", "0123456789abcdef"},
			{API, "INTERNAL_KEY_PREVIOUS", "0123456789abcdef ", "holds what no HTTP header can carry", "check the file", "INTERNAL_KEY", "0123456789abcdeg"},
			{API, "ALLOW_SECRET_WHITESPACE", "perhaps", `is "perhaps"`, "true or false", "", ""},
			{API, "COOKIE_MAX_AGE", "2h", `is "2h"`, "whole number", "", ""},
			{Standalone, "INBOX_PORT", "x", `is "x"`, "whole number", "", ""},
			{Standalone, "STANDALONE_PUBLIC", "yes please", `is "yes please"`, "true or false", "", ""},
			{Standalone, "DATA_DIR", " ", "is not set", "folder", "", ""},
			{Standalone, "JWT_SECRET", "hunter2", "is shorter than 32 bytes", "openssl", "", ""},
		}
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s %s=%s", tt.role, tt.variable, tt.value), func(t *testing.T) {
				setenv(t, complete(), map[string]string{tt.variable: tt.value})
				if tt.alsoSet != "" {
					t.Setenv(tt.alsoSet, tt.alsoVal)
					t.Setenv("SMTP_PASSWORD", "hunter2")
				}
				cfg, err := Load(tt.role)
				require.Zero(t, cfg)
				require.Equal(t, []string{tt.variable}, variablesOf(err))
				require.ErrorContains(t, err, "\n  "+tt.variable+" "+tt.wrong)
				require.ErrorContains(t, err, tt.fix)
				require.NotContains(t, err.Error(), "hunter2")
			})
		}
	})

	t.Run("needs SMTP's login as a pair", func(t *testing.T) {
		setenv(t, complete(), map[string]string{"SMTP_USERNAME": "u"})
		_, err := Load(Consumer)
		require.Equal(t, []string{"SMTP_PASSWORD"}, variablesOf(err))

		setenv(t, complete(), map[string]string{"SMTP_PASSWORD": "p"})
		_, err = Load(Consumer)
		require.Equal(t, []string{"SMTP_USERNAME"}, variablesOf(err))

		setenv(t, complete(), map[string]string{
			"SMTP_USERNAME": "u", "SMTP_PASSWORD": "p", "SMTP_TLS": "none", "SMTP_HOST": "127.0.0.1",
		})
		_, err = Load(Consumer)
		require.NoError(t, err, "in clear on loopback is fine")
	})

	t.Run("lists every problem on a line of its own", func(t *testing.T) {
		setenv(t, complete(), map[string]string{"APP_PORT": "x", "POSTGRES_HOST": "", "JWT_SECRET": "short", "CODE_HMAC_KEY": ""})
		_, err := Load(API)
		require.Equal(t, []string{"APP_PORT", "POSTGRES_HOST", "JWT_SECRET", "CODE_HMAC_KEY"}, variablesOf(err))
		require.Equal(t, `the configuration is not usable:
  APP_PORT is "x"; set it to a whole number from 0 to 65535
  POSTGRES_HOST is not set; set it to the host name of the PostgreSQL server
  JWT_SECRET is shorter than 32 bytes; make one with: openssl rand -base64 48
  CODE_HMAC_KEY is not set; make one with: openssl rand -base64 32`, err.Error())
	})

	t.Run("panics on a variable outside the table", func(t *testing.T) {
		t.Parallel()
		require.PanicsWithValue(t, "config: NOPE is not in the table of variables", func() { newReader(API).text("NOPE") })
	})
}

func TestSecrets(t *testing.T) {
	t.Run("do not print", func(t *testing.T) {
		setenv(t, complete(), map[string]string{"REDIS_PASSWORD": "redispass"})
		cfg, err := Load(API)
		require.NoError(t, err)
		encoded, err := json.Marshal(cfg)
		require.NoError(t, err)
		printed := fmt.Sprintf("%v %+v %#v %s %x %q", cfg, cfg, cfg, cfg.Secrets, cfg.Secrets, cfg.Secrets) + string(encoded)
		for _, secret := range []string{
			password, "hunter2", "redispass", jwt, key1, key2, key3, "[1 9 1", "0x1, 0x9", "010901", fmt.Sprintf("%x", jwt),
		} {
			require.NotContains(t, printed, secret)
		}
		require.Contains(t, printed, "[secret]")
	})
}

func TestNodes(t *testing.T) {
	t.Run("completes a list of nodes", func(t *testing.T) {
		for given, want := range map[string]string{
			"amqp://u:p@a:5672/v":                            "amqp://u:p@a:5672/v",
			"amqp://u:p@a:5672/v,amqp://u:p@b:5672/v":        "amqp://u:p@a:5672/v,amqp://u:p@b:5672/v",
			"amqp://u:p@a:5672/v,amqp://b":                   "amqp://u:p@a:5672/v,amqp://u:p@b/v",
			"amqp://u:p@a:5672,b:5673,[::1]:5674/v":          "amqp://u:p@a:5672/v,amqp://u:p@b:5673/v,amqp://u:p@[::1]:5674/v",
			"amqp://u:p%2C%40q@a,b/x%2Fy":                    "amqp://u:p%2C%40q@a/x%2Fy,amqp://u:p%2C%40q@b/x%2Fy",
			"amqps://u:p@a?cacertfile=%2Fca&heartbeat=7,b":   "amqps://u:p@a?cacertfile=%2Fca&heartbeat=7,amqps://u:p@b?cacertfile=%2Fca&heartbeat=7",
			"amqps://u:p@1.1.1.1?server_name_indication=a,b": "amqps://u:p@1.1.1.1?server_name_indication=a,amqps://u:p@b",
			"amqp://a,b": "amqp://a,amqp://b",
		} {
			setenv(t, complete(), map[string]string{"RABBITMQ_URL": given})
			cfg, err := Load(API)
			require.NoError(t, err, given)
			require.Equal(t, want, string(cfg.RabbitMQ.URL))
			require.NoError(t, cfg.Validate(API), "a complete list is one")
		}
	})

	t.Run("gives each node the login of the management API", func(t *testing.T) {
		setenv(t, complete(), map[string]string{"RABBITMQ_MANAGEMENT_URL": "http://u:p@a:15672,b:15672"})
		cfg, err := Load(Consumer)
		require.NoError(t, err)
		require.Equal(t, "http://u:p@a:15672,http://u:p@b:15672", string(cfg.RabbitMQ.ManagementURL))
	})

	t.Run("finds the server by Sentinels", func(t *testing.T) {
		setenv(t, complete(), map[string]string{
			"REDIS_HOST": "", "REDIS_PORT": "tcp://10.0.0.1:6379", "REDIS_SENTINEL_ADDRS": "s1, s2:5000,[::1]", "REDIS_SENTINEL_MASTER": "smap",
			"REDIS_SENTINEL_PASSWORD": "x",
		})
		cfg, err := Load(API)
		require.NoError(t, err)
		require.Equal(t, []string{"s1:26379", "s2:5000", "[::1]:26379"}, cfg.Redis.Sentinels)
		for variable, value := range map[string]string{
			"REDIS_SENTINEL_ADDRS": "", "REDIS_SENTINEL_MASTER": "",
		} {
			t.Setenv(variable, value)
			_, err := Load(API)
			require.ErrorContains(t, err, variable+" is not set")
			t.Setenv("REDIS_SENTINEL_ADDRS", "s1")
			t.Setenv("REDIS_SENTINEL_MASTER", "smap")
		}
		t.Setenv("REDIS_HOST", "redis")
		_, err = Load(API)
		require.ErrorContains(t, err, "REDIS_HOST is set although Sentinels name the server; unset it")
		t.Setenv("REDIS_HOST", "")
		for value, wrong := range map[string]string{
			"s1,,s2": "has an entry that is not HOST:PORT", "redis://:hunter2@s1": "has an entry", "s1:0": "has an entry",
			"s1,s1:26379": "names a Sentinel twice",
		} {
			t.Setenv("REDIS_SENTINEL_ADDRS", value)
			_, err := Load(API)
			require.ErrorContains(t, err, "REDIS_SENTINEL_ADDRS "+wrong)
			require.NotContains(t, err.Error(), "hunter2")
		}
		t.Setenv("REDIS_SENTINEL_ADDRS", "s1")
		t.Setenv("REDIS_SENTINEL_MASTER", "two words")
		_, err = Load(API)
		require.ErrorContains(t, err, "REDIS_SENTINEL_MASTER has white space")
	})

	t.Run("reads several hosts of PostgreSQL", func(t *testing.T) {
		setenv(t, complete(), map[string]string{"POSTGRES_HOST": "db1, [::1]:5433,::2"})
		cfg, err := Load(Migrate)
		require.NoError(t, err)
		parsed, err := pgx.ParseConfig(cfg.Postgres.DSN())
		require.NoError(t, err)
		var hosts []string
		for _, f := range append([]*pgconn.FallbackConfig{{Host: parsed.Host, Port: parsed.Port}}, parsed.Fallbacks...) {
			hosts = append(hosts, fmt.Sprint(f.Host, " ", f.Port))
		}
		require.Equal(t, []string{"db1 5432", "::1 5433", "::2 5432"}, slices.Compact(hosts))
		require.NotNil(t, parsed.ValidateConnect)
	})

	t.Run("warns of several hosts without TLS", func(t *testing.T) {
		risks := func(hosts string) int {
			return len(Config{Postgres: Postgres{Host: hosts, SSLMode: "disable"}}.Risks())
		}
		require.Equal(t, 0, risks("127.0.0.1:1,127.0.0.1:2"))
		require.Equal(t, 1, risks("127.0.0.1:1,db2:2"))
		require.Equal(t, 0, risks("/run/postgresql"))
	})
}

func TestDSN(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"db.example.com", "::1", "[::1]", "/var/run/postgresql"} {
		p := Postgres{
			Host: host, Port: 5433, User: "us er@x", Password: Secret(password), Database: "da/ta base?x", SSLMode: "disable",
		}
		parsed, err := pgx.ParseConfig(p.DSN())
		require.NoError(t, err)
		require.Equal(t, strings.Trim(host, "[]"), parsed.Host)
		require.Equal(t, uint16(5433), parsed.Port)
		require.Equal(t, "us er@x", parsed.User)
		require.Equal(t, password, parsed.Password)
		require.Equal(t, "da/ta base?x", parsed.Database)
		require.Nil(t, parsed.TLSConfig)
	}
}

func TestAddr(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"redis":      "redis:6379",
		"redis:7000": "redis:7000",
		"10.0.0.1":   "10.0.0.1:6379",
		"::1":        "[::1]:6379",
		"[::1]":      "[::1]:6379",
		"[::1]:7000": "[::1]:7000",
	} {
		require.Equal(t, want, Redis{Host: host, Port: 6379}.Addr())
	}
}

func TestSMTP(t *testing.T) {
	t.Run("encrypts as the port has it", func(t *testing.T) {
		t.Setenv("SMTP_TLS", "")
		for port, mode := range map[string]string{"465": "tls", "587": "starttls", "25": "starttls", "2525": "starttls"} {
			t.Setenv("SMTP_PORT", port)
			require.Equal(t, mode, readSMTP(newReader(Consumer)).TLS)
		}
	})

	t.Run("warns about what hardly works", func(t *testing.T) {
		good := SMTP{Host: "mail.example.com", Port: 587, TLS: "starttls", HelloName: "smap.example"}
		require.Empty(t, good.Warnings())
		require.Empty(t, SMTP{Host: "127.0.0.1", Port: 1025, TLS: "none", HelloName: "localhost"}.Warnings())
		for name, change := range map[string]func(*SMTP){
			"SMTP_TLS is starttls": func(s *SMTP) { s.Port = 465 },
			"SMTP_TLS is tls":      func(s *SMTP) { s.TLS = "tls" },
			"SMTP_TLS is none":     func(s *SMTP) { s.TLS = "none" },
			"SMTP_HELLO_NAME":      func(s *SMTP) { s.HelloName = "pod-7" },
		} {
			bad := good
			change(&bad)
			require.Len(t, bad.Warnings(), 1)
			require.Contains(t, bad.Warnings()[0], name)
		}
	})
}

func TestHosts(t *testing.T) {
	for given, want := range map[string]string{
		"[::]": "::", "::": "::", "[::1]": "::1", "fe80::1%eth0": "fe80::1%eth0", "0.0.0.0": "0.0.0.0", "localhost": "localhost",
	} {
		require.Equal(t, want, unbracketed(given))
		require.True(t, isHostAlone(unbracketed(given)), given)
		require.Empty(t, HTTP{Host: unbracketed(given)}.Validate(), given)
	}
	require.Equal(t, "[::1]:6379", Redis{Host: unbracketed("[::1]"), Port: 6379}.Addr())
	require.Equal(t, "[::1]:7000", Redis{Host: unbracketed("[::1]:7000"), Port: 6379}.Addr())
	require.Contains(t, Postgres{Host: unbracketed("[::1]"), Port: 5432}.DSN(), "@[::1]:5432/")
}

func TestWarnings(t *testing.T) {
	good := Config{Secrets: Secrets{JWT: "a secret, spaces inside it", Internal: "k"}}
	require.Empty(t, good.Warnings())
	for _, end := range []string{"\n", "\r\n", " ", "\t", "\x00"} {
		warnings := Config{
			Secrets:  Secrets{JWT: Secret("hunter2" + end)},
			Postgres: Postgres{Password: Secret(end + "hunter2")},
			Redis:    Redis{Password: Secret("hun" + end + "ter2" + end)},
			SMTP:     SMTP{Password: Secret("hunter2" + end)},
			RabbitMQ: RabbitMQ{
				URL:           Secret("amqp://u:" + url.PathEscape("hunter2"+end) + "@mq/"),
				ManagementURL: Secret("http://u:" + url.PathEscape("hunter2"+end) + "@mq"),
			},
		}.Warnings()
		require.Len(t, warnings, 6)
		for i, name := range []string{"JWT_SECRET", "POSTGRES_PASSWORD", "RABBITMQ_URL", "RABBITMQ_MANAGEMENT_URL", "REDIS_PASSWORD", "SMTP_PASSWORD"} {
			require.Contains(t, warnings[i], name)
			require.NotContains(t, warnings[i], "hunter2")
		}
	}
}
