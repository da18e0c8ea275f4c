//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// The users of a Redis with an access control list, beside the one of the manifests.
const (
	redisSecret   = "redis-secret-1f7c"
	redisSilent   = "silent on >" + redisSecret + " ~smap:* ~identity:* +@all -@dangerous +info"
	redisNoKeys   = "nokeys on >" + redisSecret + " ~other:* &* +@all"
	redisNoWrites = "nowrites on >" + redisSecret + " ~* &* +@all -@write"
)

// TestSecureRedis runs the service on a Redis that speaks TLS alone and knows named users alone.
func TestSecureRedis(t *testing.T) {
	t.Parallel()
	server := harness.NewSecureRedis(t, redisGrant(t, redisSecret))
	s := harness.New(t, harness.Options{})
	env := server.Env("identity", redisSecret)
	s.NewAPI(env...)
	s.NewConsumer(env...)
	require.NoError(t, s.StartAll(t.Context()))
	p := verified(t, s)
	key := []string{"X-Internal-Key", os.Getenv("INTERNAL_KEY")}
	const project = "proj_tls"
	want(t, http.StatusOK)(s.Client().Call(t.Context(), http.MethodPost, "/internal/projects/"+project,
		map[string]any{"user_id": p.id, "total": 1}, key...))
	v := watch(t, s, p, project) // which reads, and subscribes
	want(t, http.StatusOK)(s.Client().Call(t.Context(), http.MethodPost, "/internal/projects/"+project+"/items",
		map[string]any{"items": []any{map[string]any{"item_id": "a"}}}, key...))
	require.NoError(t, <-v.ended)
	events := v.events()
	require.Equal(t, "completed", events[len(events)-1].Name)

	out := s.Command(env, harness.Consumer, "state", "rebuild") // of the subscription, too
	require.Zero(t, out.Code, "%s%s", out.Stdout, out.Stderr)
	require.Contains(t, out.Stdout, "subscriptions: read 1")
	out = s.Command(server.Env("identity", "wrong-"+redisSecret), harness.Consumer, "state", "rebuild")
	require.Equal(t, 1, out.Code)
	require.Contains(t, out.Stderr, "WRONGPASS")
	require.NotContains(t, out.Stdout+out.Stderr, redisSecret)
	for _, process := range s.Processes() {
		_, body, err := process.Get(t.Context(), "/health/redis")
		require.NoError(t, err)
		require.JSONEq(t, `{"error_code":0,"message":"Success","data":{"status":"healthy"}}`, body)
		require.NotContains(t, strings.Join(process.Log.Lines(0), "\n"), redisSecret)
	}
}

// TestSecureRedisRefuses starts processes that such a Redis does not let in. Each says which setting to look at, and none
// a secret.
func TestSecureRedisRefuses(t *testing.T) {
	t.Parallel()
	server := harness.NewSecureRedis(t, redisGrant(t, redisSecret), redisSilent, redisNoKeys, redisNoWrites)
	other := harness.NewSecureRedis(t, redisGrant(t, redisSecret))
	for name, test := range map[string]struct {
		user, password string
		setting        string // over it
		named          string
	}{
		"a wrong password":                  {"identity", "wrong-" + redisSecret, "", "check REDIS_PASSWORD and REDIS_USERNAME"},
		"no password":                       {"", "", "", "REDIS_PASSWORD"},
		"an unknown user":                   {"nobody", redisSecret, "", "check REDIS_PASSWORD and REDIS_USERNAME"},
		"the default user":                  {"", redisSecret, "", "check REDIS_PASSWORD and REDIS_USERNAME"},
		"a user without our keys":           {"nokeys", redisSecret, "", "extend the rights of REDIS_USERNAME"},
		"a user without our channels":       {"silent", redisSecret, "", "live progress (REDIS_CACHE_DB): redis denies the user"},
		"a user who may not write":          {"nowrites", redisSecret, "", "extend the rights of REDIS_USERNAME"},
		"no TLS":                            {"identity", redisSecret, "REDIS_TLS=false", "REDIS_TLS"},
		"a certificate that nobody vouches": {"identity", redisSecret, "SSL_CERT_FILE=" + other.Authority, "REDIS_TLS and the server's certificate"},
		"a certificate that is for another": {"identity", redisSecret, "REDIS_HOST=localhost", "REDIS_TLS and the server's certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.New(t, harness.Options{})
			env := append(server.Env(test.user, test.password), test.setting)
			for _, p := range []*harness.Process{s.NewAPI(env...), s.NewConsumer(env...)} {
				s.StartReady(p)
				s.WaitLine(p, `"level":"warn"`, "redis", test.named)
				_, body, err := p.Get(t.Context(), "/health/redis")
				require.NoError(t, err)
				require.Contains(t, body, `"status":"unhealthy"`)
				require.Contains(t, body, test.named)
				require.NotContains(t, body, "127.0.0.1")
				require.NotContains(t, body+strings.Join(p.Log.Lines(0), "\n"), redisSecret)
			}
		})
	}
}
