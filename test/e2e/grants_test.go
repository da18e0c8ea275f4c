//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// grants is where the manifests say what the service's user may do on the servers.
const grants = "../../deployments/kubernetes/base/"

// redisGrant returns the user that the manifests describe, in Redis's own notation, with this password.
func redisGrant(t *testing.T, password string) string {
	t.Helper()
	text, err := os.ReadFile(grants + "redis.acl")
	require.NoError(t, err)
	user, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "user ")
	require.True(t, ok)
	require.NotContains(t, user, "\n")
	return user + " >" + password
}

// granted creates the user that the manifests describe in the virtual host of s, and returns their URLs.
func granted(t *testing.T, s *harness.TestSystem) (broker, management string) {
	t.Helper()
	text, err := os.ReadFile(grants + "rabbitmq.json")
	require.NoError(t, err)
	var definitions struct {
		Users       []struct{ Tags []string }
		Permissions []map[string]string
	}
	require.NoError(t, json.Unmarshal(text, &definitions))
	require.Len(t, definitions.Users, 1)
	require.Len(t, definitions.Permissions, 1)

	const password = "granted-5d1c"
	user := "granted_" + s.VirtualHost
	manage := func(method, path string, body any) {
		require.NoError(t, harness.Manage(context.Background(), method, path, body, nil))
	}
	manage(http.MethodPut, "/api/users/"+user,
		map[string]string{"password": password, "tags": strings.Join(definitions.Users[0].Tags, ",")})
	t.Cleanup(func() { manage(http.MethodDelete, "/api/users/"+user, nil) })
	permission := definitions.Permissions[0]
	manage(http.MethodPut, "/api/permissions/"+s.VirtualHost+"/"+user, map[string]string{
		"configure": permission["configure"], "write": permission["write"], "read": permission["read"],
	})
	as := func(address string) string {
		u, err := url.Parse(address)
		require.NoError(t, err)
		u.User = url.UserPassword(user, password)
		return u.String()
	}
	return as(s.BrokerURL), as(os.Getenv("RABBITMQ_MANAGEMENT_URL"))
}

// TestGrants runs the service as the user that the manifests describe, on an empty broker.
func TestGrants(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	broker, management := granted(t, s)
	env := []string{"RABBITMQ_URL=" + broker, "RABBITMQ_MANAGEMENT_URL=" + management}
	s.NewAPI(env...)
	s.NewConsumer(env...)
	require.NoError(t, s.StartAll(t.Context()))
	p := verified(t, s)
	harness.Soon(t, func() error { return s.Redis.HGet(t.Context(), stateKey(p.id), "status").Err() })
	for _, process := range s.Processes() {
		harness.Soon(t, func() error { // what it knew while it connected is kept for five seconds
			_, body, err := process.Get(t.Context(), "/health/rabbitmq")
			if err == nil && (!strings.Contains(body, `"status":"healthy"`) || strings.Contains(body, "warnings")) {
				err = errors.New(body)
			}
			return err
		})
		require.False(t, process.Log.Contains("lacks permissions"))
	}
	for _, command := range [][]string{{"dlq", "list", "identity.email"}, {"fanout", "status"}} {
		out := s.Command(env, harness.Consumer, command...)
		require.NotContains(t, out.Stdout+out.Stderr, "refused", "%s", command)
		require.NotContains(t, out.Stdout+out.Stderr, "unknown", "%s", command)
	}
}
