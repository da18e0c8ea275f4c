//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestSubscriptions gives a user a plan in every way, on real servers with two apis, and asks every place that says what
// they hold after each step.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1})
	admin, an := administrator(t, s), verified(t, s)
	key := []string{"X-Internal-Key", os.Getenv("INTERNAL_KEY")}
	now := time.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339Nano) }
	bill := func(status, end string, since time.Duration) string {
		return fmt.Sprintf(`{"plan_code":"pro","status":%q,"ends_at":%s,"occurred_at":%q}`, status, end, at(since))
	}
	later := `"` + at(30*24*time.Hour) + `"`
	active := `{"user_id":"` + an.id + `","plan_id":"{plan}","status":"active","starts_at":"` + at(-time.Hour) + `"}`
	ids := map[string]string{"{sub}": mySubscription(t, an).ID}
	for _, step := range []struct {
		does, method, path, body string
		status, code             int
		state                    string // with "!" in front when it does not entitle
	}{
		{"a plan", "POST", "/plans", `{"name":"Pro","code":"pro","max_usage":9}`, 201, 0, "trialing"},
		{"the same again", "POST", "/plans", `{"name":"Pro","code":"pro"}`, 409, 120003, "trialing"},
		{"another name", "PUT", "/plans/{plan}", `{"name":"Professional"}`, 200, 0, "trialing"},
		{"a second subscription", "POST", "/subscriptions", active, 409, 130007, "trialing"},
		{"paid", "PUT", "bill", bill("active", later, -time.Minute), 200, 0, "active"},
		{"said twice", "PUT", "bill", bill("active", later, -time.Minute), 200, 0, "active"},
		{"what was before", "PUT", "bill", bill("past_due", "null", -time.Hour), 409, 130004, "active"},
		{"a used plan", "DELETE", "/plans/{plan}", ``, 409, 120007, "active"},
		{"a failed payment", "PUT", "bill", bill("past_due", "null", -30*time.Second), 200, 0, "past_due"},
		{"cancelled", "PUT", "/subscriptions/{sub}", `{"status":"cancelled"}`, 200, 0, "cancelled"},
		{"one beside it", "POST", "/subscriptions", active, 409, 130007, "cancelled"},
		{"deleted", "DELETE", "/subscriptions/{sub}", ``, 200, 0, "!expired"},
		{"a new one", "POST", "/subscriptions", active, 201, 0, "active"},
		{"ended", "PUT", "/subscriptions/{sub}", `{"status":"expired"}`, 200, 0, "!expired"},
		{"final", "PUT", "/subscriptions/{sub}", `{"status":"active"}`, 409, 130008, "!expired"},
		{"the plan that nobody has any more", "DELETE", "/plans/{plan}", ``, 200, 0, "!expired"},
	} {
		fill := strings.NewReplacer("{plan}", ids["{plan}"], "{sub}", ids["{sub}"], "bill", "/internal/subscriptions/users/"+an.id)
		var body any
		if step.body != "" {
			body = json.RawMessage(fill.Replace(step.body))
		}
		answer, err := admin.client.Call(t.Context(), step.method, fill.Replace(step.path), body, key...)
		require.NoError(t, err)
		require.Equal(t, []int{step.status, step.code}, []int{answer.Status, answer.ErrorCode}, "%s: %s", step.does, answer.Raw)
		if made := (struct{ ID string }{}); step.code == 0 && json.Unmarshal(answer.Data, &made) == nil {
			name := "{sub}"
			if strings.HasPrefix(step.path, "/plans") {
				name = "{plan}"
			}
			ids[name] = made.ID
		}
		everyPlaceSays(t, s, an, step.state, key)
	}

	for _, path := range []string{"/subscriptions", "/subscriptions/page?statuses=expired", "/plans?codes=free", "/plans/page"} {
		want(t, http.StatusOK)(an.client.Call(t.Context(), http.MethodGet, path, nil))
	}
	require.Equal(t, ids["{sub}"], read[subscription](t,
		want(t, http.StatusOK)(an.client.Call(t.Context(), http.MethodGet, "/subscriptions/"+ids["{sub}"], nil))).ID)
	foreign := "/subscriptions/" + mySubscription(t, admin).ID
	refused(t, http.StatusNotFound, 130002)(an.client.Call(t.Context(), http.MethodGet, foreign, nil))
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		want(t, http.StatusForbidden)(an.client.Call(t.Context(), method, foreign, map[string]any{}))
	}
}

// everyPlaceSays requires that Redis, the entitlement and both routes of the current subscription agree.
func everyPlaceSays(t *testing.T, s *harness.TestSystem, p *person, state string, key []string) {
	t.Helper()
	status, ended := strings.CutPrefix(state, "!")
	type entitlement struct {
		Entitled bool
		Status   string
		Version  int64
	}
	e := read[entitlement](t, want(t, http.StatusOK)(s.Client().Call(t.Context(), http.MethodGet,
		"/internal/users/"+p.id+"/entitlement", nil, key...)))
	require.Equal(t, entitlement{!ended, status, e.Version}, e)
	harness.Soon(t, func() error {
		hash, err := s.Redis.HGetAll(t.Context(), stateKey(p.id)).Result()
		if err == nil && (hash["status"] != status || hash["version"] != fmt.Sprint(e.Version)) {
			err = fmt.Errorf("%v does not say %s in version %d", hash, status, e.Version)
		}
		return err
	})
	mine, err := p.client.Call(t.Context(), http.MethodGet, "/subscriptions/me", nil)
	require.NoError(t, err)
	theirs, err := s.Client().Call(t.Context(), http.MethodGet, "/subscriptions/internal/users/"+p.id, nil, key...)
	require.NoError(t, err)
	require.Equal(t, mine.Status, theirs.Status)
	if ended {
		require.Equal(t, 130002, mine.ErrorCode)
		return
	}
	require.JSONEq(t, string(mine.Data), string(theirs.Data))
	require.Equal(t, status, read[subscription](t, mine).Status)
}
