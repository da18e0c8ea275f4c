package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
)

// program is a standalone that serves, with everything it logs.
type program struct {
	*Standalone
	twice    *twice
	logs     *syncBuffer
	client   *http.Client
	contract *apitest.Validator
	stop     context.CancelFunc
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func start(t *testing.T, dir string, options ...Option) *program {
	t.Helper()
	for _, port := range []string{"APP_PORT", "CONSUMER_PORT", "INBOX_PORT", "SMTP_PORT"} {
		t.Setenv(port, "0")
	}
	t.Setenv("DATA_DIR", dir)
	cfg, err := config.Load(config.Standalone)
	require.NoError(t, err)
	logs := &syncBuffer{}
	transactions := &twice{}
	s, err := NewStandalone(t.Context(), cfg, "test", zerolog.New(logs).Level(zerolog.DebugLevel),
		append(options, transactions.replace)...)
	require.NoError(t, err)

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &program{s, transactions, logs, &http.Client{Jar: jar, Timeout: 10 * time.Second}, apitest.New(t), stop}
}

// call makes a request, checks it against the contract, and returns status, error code and data.
func (p *program) call(t *testing.T, method, path string, body any, header ...string) (status, code int, data json.RawMessage) {
	t.Helper()
	status, content := p.request(t, method, path, body, header...)
	var envelope struct {
		ErrorCode int `json:"error_code"`
		Data      json.RawMessage
	}
	require.NoError(t, json.Unmarshal(content, &envelope), string(content))
	return status, envelope.ErrorCode, envelope.Data
}

// request is call for an answer that may be anything. header are pairs of name and value. A body that is a string is sent
// as it is.
func (p *program) request(t *testing.T, method, path string, body any, header ...string) (status int, answer []byte) {
	t.Helper()
	text, isText := body.(string)
	raw := []byte(text)
	if body != nil && !isText {
		var err error
		raw, err = json.Marshal(body)
		require.NoError(t, err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, p.APIURL()+path, bytes.NewReader(raw))
	require.NoError(t, err)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(header, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	response, err := p.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	developers := strings.HasPrefix(path, "/dev/") // only the standalone has these
	if !developers {
		p.contract.Check(t, request, raw, response)
	}
	answer, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	if !developers {
		requireTranslated(t, request, response.StatusCode, answer)
	}
	return response.StatusCode, answer
}

func (p *program) ok(t *testing.T, status int, method, path string, body any, header ...string) json.RawMessage {
	t.Helper()
	got, code, data := p.call(t, method, path, body, header...)
	require.Equal(t, status, got)
	require.Zero(t, code)
	return data
}

type fields = map[string]any

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

func TestStandalone(t *testing.T) {
	t.Run("a person's way, from registration to cancellation", func(t *testing.T) {
		p := start(t, t.TempDir())
		events, untap := p.Tap("#")
		defer untap()
		schemas := apitest.NewEvents(t)
		const email, password = "minh.tran@example.com", "a long enough one"

		p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": password})
		status, code, _ := p.call(t, http.MethodPost, "/authentication/login", fields{"email": email, "password": password})
		require.Equal(t, []int{http.StatusForbidden, 20009}, []int{status, code})

		requested := <-events
		schemas.Check(t, requested)
		mails, err := p.Inbox().Wait(t.Context(), email, 1)
		require.NoError(t, err)
		require.Equal(t, requested.ID+"@smap.local", mails[0].MessageID)
		otp := sixDigits.FindString(mails[0].Text)
		require.Contains(t, string(requested.Body), otp)

		p.ok(t, http.StatusOK, http.MethodPost, "/identity/authentication/verify-otp", fields{"email": email, "otp": otp})
		created, verified := <-events, <-events
		schemas.Check(t, created)
		schemas.Check(t, verified)
		require.Equal(t, string(event.SubscriptionCreated), created.RoutingKey)
		require.Equal(t, string(event.UserVerified), verified.RoutingKey)
		require.NotEqual(t, requested.Headers[event.HeaderTraceparent], "")

		p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
		var mine struct {
			ID, Status  string
			StartsAt    time.Time `json:"starts_at"`
			TrialEndsAt time.Time `json:"trial_ends_at"`
			UserID      string    `json:"user_id"`
		}
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil), &mine))
		require.Equal(t, "trialing", mine.Status)
		require.Equal(t, 14*24*time.Hour, mine.TrialEndsAt.Sub(mine.StartsAt))
		p.requireState(t, mine.UserID, "trialing")

		p.ok(t, http.StatusOK, http.MethodPost, "/subscriptions/"+mine.ID+"/cancel", fields{"reason": "too good"})
		schemas.Check(t, <-events)
		p.requireState(t, mine.UserID, "cancelled")
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil), &mine))
		require.Equal(t, "cancelled", mine.Status, "it is in force until its end")

		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/logout", nil)
		status, _, _ = p.call(t, http.MethodGet, "/authentication/me", nil)
		require.Equal(t, http.StatusUnauthorized, status)

		logs := p.logs.String()
		for _, secret := range []string{otp, password, email, "eyJ"} {
			require.NotContains(t, logs, secret, "the log holds a secret")
		}
		require.Contains(t, logs, "mi***@example.com")
		for _, line := range []string{"event published", "event ack", "request"} {
			require.Contains(t, logs, `"message":"`+line+`"`)
		}
	})
	t.Run("codes and logins survive a restart", func(t *testing.T) {
		dir := t.TempDir()
		const email = "lan@example.com"
		var otp string
		var registered struct{ Registration string }
		t.Run("before", func(t *testing.T) {
			p := start(t, dir)
			require.NoError(t, json.Unmarshal(p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register",
				fields{"email": email, "password": "a long enough one"}), &registered))
			mails, err := p.Inbox().Wait(t.Context(), email, 1)
			require.NoError(t, err)
			otp = sixDigits.FindString(mails[0].Text)
		})
		t.Run("after", func(t *testing.T) {
			p := start(t, dir)
			p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp",
				fields{"email": email, "otp": otp, "registration": registered.Registration}) // the client has no cookie
		})
	})
	t.Run("a user whose password the previous release hashed logs in, and is rehashed", func(t *testing.T) {
		p := start(t, t.TempDir())
		const email, password = "an@example.com", "set long ago"
		hash, err := bcrypt.GenerateFromPassword([]byte(password), 10)
		require.NoError(t, err)
		_, err = p.db.Exec(t.Context(), "storing a user", `
			INSERT INTO users (id, username, password_hash, is_active, created_at, updated_at)
			VALUES ('85127bca-b50f-4bdf-9851-54dccc947b2d', $1, $2, true, '2025-03-02 10:00:00', '2025-03-02 10:00:00')`,
			email, string(hash))
		require.NoError(t, err)
		for range 2 {
			p.ok(t, http.StatusOK, http.MethodPost, "/authentication/login", fields{"email": email, "password": password})
			var stored string
			require.NoError(t, p.db.Conn(t.Context()).
				QueryRowContext(t.Context(), "SELECT password_hash FROM users").Scan(&stored))
			require.Contains(t, stored, "$argon2id$")
		}
	})
	t.Run("a setting that leaves a door open is told once, and in the details of health", func(t *testing.T) {
		t.Setenv("COOKIE_SAMESITE", "none")
		t.Setenv("COOKIE_SECURE", "true")
		p := start(t, t.TempDir())
		require.Equal(t, 1, strings.Count(p.logs.String(), "COOKIE_SAMESITE is none although CORS_ORIGINS is not set"))
		for range 2 {
			var report struct {
				Status  string
				Details struct{ Settings struct{ Warnings []string } }
			}
			require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/health", nil), &report))
			require.Equal(t, "healthy", report.Status)
			require.Len(t, report.Details.Settings.Warnings, 1)
		}
		require.Equal(t, 1, strings.Count(p.logs.String(), "COOKIE_SAMESITE is none"), "once")
	})
	t.Run("health and metrics", func(t *testing.T) {
		p := start(t, t.TempDir())
		for _, path := range []string{"/live", "/ready", "/health", "/health/redis", "/health/rabbitmq"} {
			p.ok(t, http.StatusOK, http.MethodGet, path, nil)
		}
		require.JSONEq(t, `{"status":"healthy","exchange":"smap.events","type":"topic","durable":false,"phase":"complete"}`,
			string(p.ok(t, http.StatusOK, http.MethodGet, "/health/rabbitmq", nil)))

		events, untap := p.Tap("#")
		defer untap()
		p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": "m@example.com", "password": "a long enough one"})
		<-events
		_, err := p.Inbox().Wait(t.Context(), "m@example.com", 1)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			return strings.Contains(get(t, p.MonitorURL()+"/metrics"), `event_handler_duration_seconds_count{outcome="handled",queue="identity.email",routing_key="email.verification.requested"} 1`)
		}, 20*time.Second, 10*time.Millisecond)
		for _, name := range []string{
			`events_published_total{routing_key="email.verification.requested"} 1`, "event_publish_duration_seconds_count",
			"emails_processed_total 1", "emails_failed_total 0", "outbox_rows 0", "outbox_oldest_due_seconds 0", "outbox_up 1",
			`dead_letters{queue="identity.email"} 0`, "mails_owed 0", "mail_oldest_owed_seconds 0",
			`users{state="not_verified"} 1`, `users{state="active"} 0`, `users{state="deleted"} 0`,
			"http_request_duration_seconds_count", "password_hashing_running 0", "password_hashing_refused_total 0",
		} {
			require.Eventually(t, func() bool { return strings.Contains(get(t, p.APIURL()+"/metrics"), name) },
				20*time.Second, 100*time.Millisecond, name)
		}
	})
	t.Run("a stop is announced before it is carried out", func(t *testing.T) {
		t.Setenv("DRAIN_DELAY", "5s")
		p := start(t, t.TempDir())
		p.ok(t, http.StatusOK, http.MethodGet, "/ready", nil)
		p.stop()
		require.Eventually(t, func() bool {
			status, _, data := p.call(t, http.MethodGet, "/ready", nil)
			return status == http.StatusServiceUnavailable && strings.Contains(string(data), "draining")
		}, 4*time.Second, 5*time.Millisecond)
		p.ok(t, http.StatusOK, http.MethodGet, "/live", nil) // still served
	})
}

// requireState waits for the projection, which follows the event.
func (p *program) requireState(t *testing.T, userID, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return p.Redis().HGet(t.Context(), "smap:sub:"+userID, "status").Val() == want
	}, 20*time.Second, 5*time.Millisecond)
}

func TestContract(t *testing.T) {
	t.Run("every route is in the contract, and back", func(t *testing.T) {
		p := start(t, t.TempDir())
		var routes []string
		for _, r := range p.web.Routes() {
			if r.Method == echo404 || r.Method == http.MethodHead || r.Path == "/" || isPage(r.Path) || strings.HasPrefix(r.Path, "/docs") || strings.HasPrefix(r.Path, "/dev/") || strings.HasPrefix(r.Path, "/schemas") || strings.HasSuffix(r.Path, ".yaml") {
				continue
			}
			routes = append(routes, r.Method+" "+r.Path)
		}
		slices.Sort(routes)
		require.Equal(t, p.contract.Routes(), slices.Compact(routes))
	})
	t.Run("the contracts are served", func(t *testing.T) {
		p := start(t, t.TempDir())
		require.Contains(t, get(t, p.APIURL()+"/docs"), "swagger")
		require.Contains(t, get(t, p.APIURL()+"/openapi.yaml"), "openapi: 3")
		require.Contains(t, get(t, p.APIURL()+"/asyncapi.yaml"), "asyncapi: 3")
		require.Contains(t, get(t, p.APIURL()+"/schemas/subscription.created.json"), "$schema")
	})
}

// isPage reports whether a path is one of the pages for people, which are no part of the contract.
func isPage(path string) bool {
	return strings.HasPrefix(path, "/accept-invitation") || path == "/invitation-progress"
}

// echo404 is the method echo gives to the not-found handlers of groups.
const echo404 = "echo_route_not_found"

func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", url, raw)
	return string(raw)
}
