package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/httpserver"
)

// step is a call and what is expected of it. In path and body {plan}, {user} and {sub} are ids.
type subscriptionStep struct {
	does         string
	method, path string
	body         string
	status, code int
	state        string // status in Redis and in the entitlement afterwards, with "!" in front when it does not entitle
}

func TestSubscriptions(t *testing.T) {
	t.Setenv("INTERNAL_KEY", internalKey)
	p := start(t, t.TempDir())
	const email = "mua.goi@example.com"
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": "a long enough one"})
	mails, err := p.Inbox().Wait(t.Context(), email, 1)
	require.NoError(t, err)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp",
		fields{"email": email, "otp": sixDigits.FindString(mails[0].Text)})
	p.loginAdmin(t)
	user := p.text(t, "SELECT id FROM users WHERE username = $1", email)
	ids := map[string]string{"{user}": user, "{sub}": p.text(t, "SELECT id FROM subscriptions WHERE user_id = $1", user)}
	at := func(d time.Duration) string { return p.clock.Now().Add(d).Format(time.RFC3339Nano) }
	bill := func(status, end string, since time.Duration) string {
		return `{"plan_code":"pro","status":"` + status + `","ends_at":` + end + `,"occurred_at":"` + at(since) + `"}`
	}
	later := `"` + at(30*24*time.Hour) + `"`
	const bills = "/internal/subscriptions/users/{user}"
	renewal := bill("active", later, -time.Minute)
	steps := []subscriptionStep{
		{"a plan", "POST", "/plans", `{"name":"Pro","code":"pro","description":"For one","max_usage":9}`, 201, 0, "trialing"},
		{"the same again", "POST", "/plans", `{"name":"Pro","code":"pro"}`, 409, 120003, "trialing"},
		{"a plan without a name", "POST", "/plans", `{"code":"a b"}`, 400, 120001, "trialing"},
		{"another name", "PUT", "/plans/{plan}", `{"name":"Professional","max_usage":0}`, 200, 0, "trialing"},
		{"a plan that nobody has", "PUT", "/plans/" + user, `{}`, 404, 120002, "trialing"},
		{"a second subscription", "POST", "/subscriptions", `{"user_id":"{user}","plan_id":"{plan}","status":"active","starts_at":"` + at(0) + `"}`, 409, 130007, "trialing"},
		{"a start in the future", "POST", "/subscriptions", `{"user_id":"{user}","plan_id":"{plan}","status":"active","starts_at":"` + at(time.Hour) + `"}`, 400, 130004, "trialing"},
		{"for nobody", "POST", "/subscriptions", `{"user_id":"{plan}","plan_id":"{plan}","status":"active","starts_at":"` + at(0) + `"}`, 404, 10002, "trialing"},
		{"to no plan", "POST", "/subscriptions", `{"user_id":"{user}","plan_id":"{user}","status":"active","starts_at":"` + at(0) + `"}`, 404, 120002, "trialing"},
		{"without fields", "POST", "/subscriptions", `{}`, 400, 130001, "trialing"},
		{"a longer trial", "PUT", "/subscriptions/{sub}", `{"trial_ends_at":` + later + `}`, 200, 0, "trialing"},
		{"the same", "PUT", "/subscriptions/{sub}", `{"trial_ends_at":` + later + `,"status":"trialing","more":1}`, 200, 0, "trialing"},
		{"a cancelled trial", "PUT", "/subscriptions/{sub}", `{"status":"cancelled"}`, 200, 0, "cancelled"},
		{"cancelled twice", "POST", "/subscriptions/{sub}/cancel", ``, 409, 130009, "cancelled"},
		{"a second one beside it", "POST", "/subscriptions", `{"user_id":"{user}","plan_id":"{plan}","status":"active","starts_at":"` + at(0) + `"}`, 409, 130007, "cancelled"},
		{"paid after all", "PUT", bills, renewal, 200, 0, "active"},
		{"said twice", "PUT", bills, renewal, 200, 0, "active"},
		{"what was before", "PUT", bills, bill("past_due", "null", -time.Hour), 409, 130004, "active"},
		{"what will be", "PUT", bills, bill("past_due", "null", time.Hour), 400, 130004, "active"},
		{"an unknown plan", "PUT", bills, strings.Replace(bill("active", "null", 0), "pro", "por", 1), 404, 120002, "active"},
		{"an unknown field", "PUT", bills, `{"plan":"pro"}`, 400, 130001, "active"},
		{"an unknown user", "PUT", "/internal/subscriptions/users/{plan}", bill("active", "null", 0), 404, 10002, "active"},
		{"a used plan", "DELETE", "/plans/{plan}", ``, 409, 120007, "active"},
		{"the code of a used plan", "PUT", "/plans/{plan}", `{"code":"prof"}`, 409, 120007, "active"},
		{"a failed payment", "PUT", bills, bill("past_due", "null", -30*time.Second), 200, 0, "past_due"},
		{"the end of the contract", "PUT", bills, bill("cancelled", later, -20*time.Second), 200, 0, "cancelled"},
		{"deleted", "DELETE", "/subscriptions/{sub}", ``, 200, 0, "!expired"},
		{"deleted twice", "DELETE", "/subscriptions/{sub}", ``, 404, 130002, "!expired"},
		{"nothing to cancel", "PUT", bills, bill("cancelled", later, -10*time.Second), 409, 130009, "!expired"},
		{"begun cancelled", "POST", "/subscriptions", `{"user_id":"{user}","plan_id":"{plan}","status":"cancelled","starts_at":"` + at(0) + `"}`, 409, 130008, "!expired"},
		{"a new one", "POST", "/subscriptions", `{"user_id":"{user}","plan_id":"{plan}","status":"active","starts_at":"` + at(0) + `"}`, 201, 0, "active"},
		{"ended", "PUT", "/subscriptions/{sub}", `{"status":"expired"}`, 200, 0, "!expired"},
		{"final", "PUT", "/subscriptions/{sub}", `{"status":"active"}`, 409, 130008, "!expired"},
		{"a new one by billing", "PUT", bills, bill("active", "null", -5*time.Second), 200, 0, "active"},
		{"cancelled by an administrator", "POST", "/subscriptions/{sub}/cancel", `{"reason":"fraud"}`, 200, 0, "!cancelled"},
		{"the plan that nobody has any more", "DELETE", "/plans/{plan}", ``, 200, 0, "!cancelled"},
		{"the plan of every trial", "DELETE", "/plans/" + p.text(t, "SELECT id FROM plans WHERE code = 'free'"), ``, 409, 120007, "!cancelled"},
	}
	for _, s := range steps {
		fill := func(text string) string {
			for name, id := range ids {
				text = strings.ReplaceAll(text, name, id)
			}
			return text
		}
		var body any
		if s.body != "" {
			body = json.RawMessage(fill(s.body))
		}
		status, code, data := p.call(t, s.method, fill(s.path), body, "X-Internal-Key", internalKey)
		require.Equal(t, []int{s.status, s.code}, []int{status, code}, "%s: %s", s.does, data)
		var answer struct {
			ID string
		}
		if code == 0 && len(data) > 0 {
			require.NoError(t, json.Unmarshal(data, &answer))
			name := "{sub}"
			if strings.HasPrefix(s.path, "/plans") {
				name = "{plan}"
			}
			ids[name] = answer.ID
		}
		p.requireHeld(t, s, user)
	}
}

// requireHeld waits for Redis to have the state, and requires that every route says the same.
func (p *program) requireHeld(t *testing.T, s subscriptionStep, user string) {
	t.Helper()
	state, ended := strings.CutPrefix(s.state, "!")
	p.eventually(t, 0, "SELECT count(*) FROM outbox")
	p.requireState(t, user, state)
	key := []string{"X-Internal-Key", internalKey}
	var e struct {
		Entitled bool
		Status   string
		Version  int64
	}
	require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/internal/users/"+user+"/entitlement", nil, key...), &e))
	require.Equal(t, !ended, e.Entitled, s.does)
	require.Equal(t, state, e.Status, s.does)
	require.Eventually(t, func() bool {
		version, err := p.Redis().HGet(t.Context(), "smap:sub:"+user, "version").Int64()
		return err == nil && version == e.Version
	}, 20*time.Second, 5*time.Millisecond, s.does)
	status, code, data := p.call(t, http.MethodGet, "/subscriptions/internal/users/"+user, nil, key...)
	if ended {
		require.Equal(t, []int{http.StatusNotFound, 130002}, []int{status, code}, s.does)
		return
	}
	var held struct {
		Status string
		Plan   struct{ Code string }
	}
	require.NoError(t, json.Unmarshal(data, &held))
	require.Equal(t, state, held.Status, s.does)
	require.NotEmpty(t, held.Plan.Code)
}

func TestSubscriptionLists(t *testing.T) {
	p := start(t, t.TempDir())
	m := &matrix{program: p}
	p.loginAdmin(t)
	type list struct {
		Subscriptions []struct{ ID string }
		Plans         []struct{ Code string }
		Metadata      httpserver.Paginator
	}
	read := func(path string, header ...string) (l list) {
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, path, nil, header...), &l))
		return l
	}
	all := read("/subscriptions/page?statuses=trialing,active&limit=1")
	require.Len(t, all.Subscriptions, 1)
	require.Equal(t, httpserver.Paginator{Total: 1, Count: 1, PerPage: 1, CurrentPage: 1, TotalPages: 1}, all.Metadata)
	require.Empty(t, read("/subscriptions?statuses=expired").Subscriptions)
	require.Equal(t, "free", read("/plans?codes=free").Plans[0].Code)
	require.Equal(t, 1, read("/plans/page").Metadata.Total)
	status, code, _ := p.call(t, http.MethodGet, "/subscriptions?statuses=ended", nil)
	require.Equal(t, []int{http.StatusBadRequest, 130001}, []int{status, code})

	p.client.Jar = nil
	other := m.person(t, "an", other, "USER", "")
	require.Empty(t, read("/subscriptions", other.header[:]...).Subscriptions, "those of others are not theirs")
	status, code, _ = p.call(t, http.MethodGet, "/subscriptions/"+all.Subscriptions[0].ID, nil, other.header[:]...)
	require.Equal(t, []int{http.StatusNotFound, 130002}, []int{status, code})
}
