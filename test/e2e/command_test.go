//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestCommands runs the binaries' commands.
func TestCommands(t *testing.T) {
	t.Parallel()
	t.Run("migrate up, status and down", migrateCommand)
	t.Run("user promote", promoteCommand)
	t.Run("user show and mail resend", supportCommands)
	t.Run("outbox retry", outboxCommand)
	t.Run("versions, typing errors and health", commandLines)
	t.Run("what only the standalone has is in no production binary", noStandalone)
}

// noStandalone looks for routes of the standalone, and its page, in the binaries themselves.
func noStandalone(t *testing.T) {
	t.Parallel()
	for name, route := range map[string]string{harness.API: "/authentication/login", harness.Consumer: "/metrics"} {
		path, err := harness.Binary(name)
		require.NoError(t, err)
		program, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Contains(program, []byte(route)), "routes can be found in the binary")
		for _, own := range []string{"/dev/clock", "/dev/flow", "/dev/promote", "Advance the clock"} {
			require.False(t, bytes.Contains(program, []byte(own)), "%s: %s", name, own)
		}
	}
}

// migrateCommand checks migrate up, status and down, and the readiness of a running api meanwhile.
func migrateCommand(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1})
	migrate := func(verb string, code int) harness.Output {
		t.Helper()
		out := s.Command(nil, harness.API, "migrate", verb)
		require.Equal(t, code, out.Code, out.Stderr)
		return out
	}
	require.NotContains(t, migrate("status", 0).Stdout, "pending")
	require.Contains(t, migrate("up", 0).Stdout, "nothing to do")
	newest := regexp.MustCompile(`took back (\d{5})`).FindStringSubmatch(migrate("down", 0).Stdout)
	require.Len(t, newest, 2)
	responds(t, s.APIs[0], "/ready", http.StatusServiceUnavailable, "migrate up")
	status := migrate("status", 1)
	require.Contains(t, status.Stdout, "pending")
	require.Contains(t, status.Stderr, "migrate up", "the error says what to do")

	// A start that may not migrate leaves the schema alone and takes no work.
	patient := s.NewAPI("DB_AUTO_MIGRATE=false")
	require.NoError(t, patient.Start(t.Context()))
	responds(t, patient, "/ready", http.StatusServiceUnavailable, "migrate up")
	require.Contains(t, migrate("up", 0).Stdout, "applied "+newest[1])
	s.Ready(s.APIs[0])
	s.Ready(patient)
	register(t, s)
}

// promoteCommand checks that a new role is in the token of the next login.
func promoteCommand(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	p := verified(t, s)
	require.Equal(t, "USER", role(t, p))
	out := s.Command(nil, harness.API, "user", "promote", strings.ToUpper(p.email), "--by", "a test")
	require.Zero(t, out.Code, out.Stderr)
	require.Equal(t, "ADMIN", role(t, p))
	out = s.Command(nil, harness.API, "user", "promote", "nobody@example.com", "--by", "a test")
	require.Equal(t, 1, out.Code)
	require.Contains(t, out.Stderr, "User not found")

	// An administrator may cancel for others.
	other := verified(t, s)
	path := "/subscriptions/" + mySubscription(t, other).ID + "/cancel"
	want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodPost, path, nil))
	subscriptionState(t, s, other.id, "cancelled")
}

// role logs in and decodes the token as another service does.
func role(t *testing.T, p *person) string {
	t.Helper()
	answer := want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, false))
	parts := strings.Split(answer.Cookie("smap_auth_token").Value, ".")
	require.Len(t, parts, 3)
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var claims struct {
		Sub, Username, Role, Type, Jti string
		Refresh                        *bool
		Iat, Nbf, Exp                  int64
	}
	require.NoError(t, json.Unmarshal(raw, &claims))
	require.Equal(t, p.id, claims.Sub)
	require.Equal(t, p.email, claims.Username)
	require.Equal(t, "access", claims.Type)
	require.NotEmpty(t, claims.Jti)
	require.False(t, *claims.Refresh)
	require.EqualValues(t, 7200, claims.Exp-claims.Iat)
	return claims.Role
}

// supportCommands follows a mail from the outbox to the mail server, and has another sent, with no more settings than each
// command needs.
func supportCommands(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1})
	p := register(t, s)
	show := func() (person struct {
		User    struct{ State string }
		Mails   []struct{ Kind, State, EventID string }
		Waiting []struct{ State string }
	}) {
		t.Helper()
		out := s.Command([]string{
			"EVENTS_SEAL_KEY=", "JWT_SECRET=", "TRIAL_DIGEST_KEY=", "RABBITMQ_URL=", "REDIS_HOST=", "SMTP_HOST=",
		}, harness.API, "user", "show", strings.ToUpper(p.email), "--json")
		require.Zero(t, out.Code, out.Stderr)
		text := strings.ReplaceAll(out.Stdout, "event_id", "eventid")
		require.NoError(t, json.Unmarshal([]byte(text), &person))
		return person
	}
	s.OutboxEmpty()
	require.Equal(t, "owed", show().Mails[0].State, "it is in the broker, and nobody sends it")
	require.Len(t, show().Waiting, 1)
	require.NoError(t, s.NewConsumer().Start(t.Context()))
	harness.Soon(t, func() error {
		if state := show().Mails[0].State; state != "accepted" {
			return fmt.Errorf("the mail is %s", state)
		}
		return nil
	})
	require.Empty(t, show().Waiting)

	again := func(code int) harness.Output {
		t.Helper()
		out := s.Command([]string{
			"JWT_SECRET=", "TRIAL_DIGEST_KEY=", "RABBITMQ_URL=", "REDIS_HOST=", "SMTP_HOST=",
		}, harness.API, "mail", "resend", p.email, "--by", "a test")
		require.Equal(t, code, out.Code, out.Stderr)
		return out
	}
	require.Contains(t, again(1).Stderr, "try again in", "within the limits")
	aMinuteLater(t, s, p)
	_, err := s.DB.ExecContext(t.Context(), "UPDATE limits SET last_at = last_at - interval '120 seconds'")
	require.NoError(t, err)
	require.Contains(t, again(0).Stdout, mailEvent(t, s, p))
	newCode(t, s, p)
	p.verify(t)
	person := show()
	require.Equal(t, "active", person.User.State)
	require.Equal(t, "verification", person.Mails[0].Kind)
	require.Contains(t, again(1).Stderr, "nobody waits for a code")

	for _, words := range [][]string{
		{"user", "shw"}, {"user", "show"}, {"user", "show", harness.Email()}, {"mail", "resend"}, {"mail", "send", p.email},
		{"mail", "resend", p.email},
	} {
		require.Equal(t, 1, s.Command(nil, harness.API, words...).Code, "%v", words)
	}
}

// outboxCommand checks that a row that the relay has given up is published on demand.
func outboxCommand(t *testing.T) {
	t.Parallel()
	// This broker does not exist, so the row stays.
	nowhere := map[string]string{"RABBITMQ_URL": "amqp://nobody:nothing@127.0.0.1:1/"}
	s := harness.New(t, harness.Options{APIs: 1, Env: nowhere})
	p := register(t, s)
	require.NoError(t, s.APIs[0].Kill())
	_, err := s.DB.ExecContext(t.Context(), "UPDATE outbox SET failed_at = now(), attempts = 15, lease_until = NULL")
	require.NoError(t, err)

	out := s.Command(nil, harness.API, "user", "show", p.email, "--json")
	require.Contains(t, out.Stdout, `"state": "dead"`, out.Stderr)

	here := []string{"RABBITMQ_URL=" + s.BrokerURL}
	out = s.Command(here, harness.Consumer, "outbox", "retry")
	require.Zero(t, out.Code, out.Stderr)
	require.Contains(t, out.Stdout, "1 rows are due again")
	consumer := s.NewConsumer(here...)
	require.NoError(t, consumer.Start(t.Context()))
	oneMail(t, s, p.email)
	s.OutboxEmpty()
}

// commandLines checks versions, typing errors, and the health command of the images.
func commandLines(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	for binary, p := range map[string]*harness.Process{harness.API: s.APIs[0], harness.Consumer: s.Consumers[0]} {
		out := s.Command(nil, binary, "--version")
		require.Zero(t, out.Code)
		require.True(t, strings.HasPrefix(out.Stdout, binary+" version "), out.Stdout)
		out = s.Command(nil, binary, "nonsense")
		require.Equal(t, 1, out.Code)
		require.Contains(t, out.Stderr, "nonsense")

		address, err := url.Parse(p.URL())
		require.NoError(t, err)
		port := map[string]string{harness.API: "APP_PORT=", harness.Consumer: "CONSUMER_PORT="}[binary]
		require.Zero(t, s.Command([]string{port + address.Port()}, binary, "health").Code)
		require.Equal(t, 1, s.Command([]string{port + "1"}, binary, "health").Code)

		out = s.Command([]string{port + address.Port()}, binary, "serve")
		require.Equal(t, 1, out.Code, "the port is taken")
		require.Contains(t, out.Stdout+out.Stderr, strings.TrimSuffix(port, "="))
	}
}

// TestStart starts the binaries in surroundings that are not ready.
func TestStart(t *testing.T) {
	t.Parallel()
	t.Run("one message lists every invalid setting, and no secret", badConfiguration)
	t.Run("waits for the database for START_TIMEOUT", databaseComesLater)
}

// badConfiguration checks that one message lists every problem, and no secret.
func badConfiguration(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	for binary, wanted := range map[string][]string{
		harness.API: {
			"POSTGRES_HOST", "RABBITMQ_URL", "JWT_SECRET", "CODE_HMAC_KEY", "EVENTS_SEAL_KEY", "APP_PORT", "LOGGER_LEVEL",
		},
		harness.Consumer: {
			"POSTGRES_HOST", "RABBITMQ_URL", "SMTP_HOST", "SMTP_FROM", "SMTP_TLS", "EVENTS_SEAL_KEY", "SMTP_TIMEOUT",
			"LOGGER_LEVEL",
		},
	} {
		out := s.Command([]string{
			"POSTGRES_HOST=", "RABBITMQ_URL=http://secret@host", "JWT_SECRET=short secret", "CODE_HMAC_KEY=", "APP_PORT=many",
			"EVENTS_SEAL_KEY=c2VjcmV0", "SMTP_HOST=", "SMTP_FROM=nobody", "SMTP_TLS=perhaps", "SMTP_TIMEOUT=soon",
			"LOGGER_LEVEL=loud",
		}, binary)
		require.Equal(t, 1, out.Code)
		for _, name := range wanted {
			require.Contains(t, out.Stderr, name, binary)
		}
		for _, secret := range []string{"secret@", "short secret", "c2VjcmV0"} {
			require.NotContains(t, out.Stderr+out.Stdout, secret, binary)
		}
	}
}

// databaseComesLater checks that a start waits for the database as long as START_TIMEOUT says, and no longer.
func databaseComesLater(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	began := time.Now()
	out := s.Command([]string{"POSTGRES_PORT=1", "START_TIMEOUT=2s"}, harness.API, "serve")
	require.Equal(t, 1, out.Code)
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second)
	require.Contains(t, out.Stderr, "START_TIMEOUT")

	later := "later_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	api := s.NewAPI("POSTGRES_DB=" + later)
	started := make(chan error, 1)
	go func() { started <- api.Start(t.Context()) }()
	s.WaitLine(api, "does not respond yet")
	_, err := s.DB.ExecContext(t.Context(), "CREATE DATABASE "+later)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, api.Kill())
		_, err := s.DB.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE "+later+" WITH (FORCE)")
		require.NoError(t, err)
	})
	require.NoError(t, <-started)
	s.Ready(api)
}
