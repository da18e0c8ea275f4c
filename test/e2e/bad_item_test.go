//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestBadItem gives every loop one item it cannot handle.
func TestBadItem(t *testing.T) {
	t.Parallel()
	t.Run("a routing key that the broker refuses holds up no mail", refusedRoutingKey)
	t.Run("a project whose key holds something else is passed over", badProjectKey)
	t.Run("state rebuild passes over keys that hold something else", badKeysInRebuild)
}

// projectOfOne opens a project and counts its only item.
func projectOfOne(t *testing.T, s *harness.TestSystem, id string, total int) {
	t.Helper()
	key := []string{"X-Internal-Key", os.Getenv("INTERNAL_KEY")}
	path := "/internal/projects/" + id
	want(t, http.StatusOK)(s.Client().Call(t.Context(), http.MethodPost, path, map[string]any{"user_id": "u1", "total": total}, key...))
	items := map[string]any{"items": []map[string]any{{"item_id": "a"}}}
	want(t, http.StatusOK)(s.Client().Call(t.Context(), http.MethodPost, path+"/items", items, key...))
}

func refusedRoutingKey(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	broker, err := url.Parse(s.BrokerURL)
	require.NoError(t, err)
	user := broker.User.Username()
	rabbitmqctl(t, "set_topic_permissions", "-p", s.VirtualHost, user, harness.Exchange, `^(email|subscription)\..*`, ".*")
	projectOfOne(t, s, "refused", 1)
	var people []*person
	for range 5 {
		people = append(people, register(t, s))
	}
	for _, p := range people {
		oneMail(t, s, p.email)
	}
	harness.Soon(t, func() error {
		if rows := texts(t, s, "SELECT concat_ws(' ', routing_key, last_error) FROM outbox WHERE attempts > 0"); len(rows) != 1 ||
			rows[0] != "job.completed rejected" {
			return fmt.Errorf("rows with tries: %q", rows)
		}
		return nil
	})
	for _, p := range s.Processes() {
		require.False(t, p.Log.Contains("rabbitmq is unavailable"), "%s: the connection was kept", p.Name)
	}
	rabbitmqctl(t, "clear_topic_permissions", "-p", s.VirtualHost, user)
	s.OutboxEmpty()
}

func badProjectKey(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	recorded := recordEvents(t, s)
	for _, id := range []string{"bad", "good"} {
		projectOfOne(t, s, id, 0)
	}
	require.NoError(t, s.Redis.Set(t.Context(), projectKey("bad"), "x", 0).Err())
	require.NoError(t, s.Redis.HSet(t.Context(), projectKey("good"), "total", 1).Err())
	require.Equal(t, 1, announced(t, s, recorded, "good").Done)
	s.WaitLine(s.Consumers[0], "is passed over", `"project_id":"bad"`, projectKey("bad"))
}

func badKeysInRebuild(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	var people []*person
	for range 3 {
		p := verified(t, s)
		subscriptionState(t, s, p.id, "trialing")
		require.NoError(t, s.Redis.Del(t.Context(), stateKey(p.id)).Err())
		people = append(people, p)
	}
	bad := people[0]
	require.NoError(t, s.Redis.Set(t.Context(), stateKey(bad.id), "x", 0).Err())
	out := s.Command(nil, harness.Consumer, "state", "rebuild")
	require.Equal(t, 1, out.Code, out.Stderr)
	require.Contains(t, out.Stdout, "read 3, written 2, already newer 0, failed 1")
	require.Contains(t, out.Stderr, stateKey(bad.id))
	for _, p := range people[1:] {
		subscriptionState(t, s, p.id, "trialing")
	}
	require.NoError(t, s.Redis.Del(t.Context(), stateKey(bad.id)).Err())
	out = s.Command(nil, harness.Consumer, "state", "rebuild")
	require.Zero(t, out.Code, out.Stderr)
	require.Contains(t, out.Stdout, "written 3")
}
