package http_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/httpserver"
)

var (
	administrator = &httpserver.Principal{Subject: userID, Role: "ADMIN"}
	start         = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
)

const planID = "0190b6a8-0000-7000-8000-00000000beef"

func ptr[T any](v T) *T { return &v }

// request returns a request with the internal key.
func request(route, body string) *http.Request {
	method, path, _ := strings.Cut(route, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Internal-Key", key)
	return r
}

func TestRequests(t *testing.T) {
	t.Parallel()
	given := func(at *time.Time) subscription.OptionalTime { return subscription.OptionalTime{Given: true, Time: at} }
	all := subscription.Filter{Limit: 15}
	upper := strings.ToUpper(subID)
	tests := []struct {
		route, body string
		status      int
		id          string
		argument    any
	}{
		{"GET /subscriptions", "", 200, "", all},
		{"GET /subscriptions/page?page=3&limit=500", "", 200, "", subscription.Filter{Limit: 100, Offset: 200}},
		{
			"GET /subscriptions?ids=" + upper + "&user_ids[]=" + userID + "&plan_ids=" + planID + "&statuses=active,past_due", "", 200, "",
			subscription.Filter{
				IDs: []string{subID}, UserIDs: []string{userID}, PlanIDs: []string{planID},
				Statuses: []subscription.Status{"active", "past_due"}, Limit: 15,
			},
		},
		{"GET /subscriptions/" + upper, "", 200, subID, nil},
		{
			"POST /subscriptions", `{"user_id":"` + strings.ToUpper(userID) + `","plan_id":"` + planID + `","status":"active",
				"starts_at":"2026-01-31T16:30:00.0000009+07:00","trial_ends_at":null,"ends_at":"2026-01-31T09:30:00Z","more":1}`, 201, "",
			subscription.Draft{UserID: userID, PlanID: planID, Status: "active", StartsAt: start, EndsAt: &start},
		},
		{
			"PUT /subscriptions/" + upper, `{"status":"active","ends_at":null}`, 200, subID,
			subscription.Amendment{Status: "active", EndsAt: given(nil)},
		},
		{
			"PUT /subscriptions/" + subID, `{"plan_id":"` + planID + `","starts_at":"2026-01-31T09:30:00Z","trial_ends_at":"2026-01-31T09:30:00Z"}`,
			200, subID, subscription.Amendment{PlanID: planID, StartsAt: &start, TrialEndsAt: given(&start)},
		},
		{"DELETE /subscriptions/" + upper, "", 200, subID, nil},
		{
			"PUT /internal/subscriptions/users/" + userID, `{"plan_code":"pro","status":"active","ends_at":null,"occurred_at":"2026-01-31T09:30:00Z"}`,
			200, userID, subscription.Bill{PlanCode: "pro", Status: "active", OccurredAt: start},
		},
		{
			"PUT /internal/subscriptions/users/" + userID,
			`{"plan_code":"pro","status":"cancelled","ends_at":"2026-01-31T09:30:00Z","occurred_at":"2026-01-31T09:30:00Z","reason":"fraud"}`,
			200, userID, subscription.Bill{PlanCode: "pro", Status: "cancelled", EndsAt: &start, OccurredAt: start, Reason: "fraud"},
		},

		{"GET /plans?codes=free,pro", "", 200, "", subscription.PlanFilter{Codes: []string{"free", "pro"}, Limit: 15}},
		{"GET /plans/page?ids=" + planID + "&page=2&limit=1", "", 200, "", subscription.PlanFilter{IDs: []string{planID}, Limit: 1, Offset: 1}},
		{"GET /plans/" + strings.ToUpper(planID), "", 200, planID, nil},
		{"POST /plans", `{"name":"Pro","code":"pro","max_usage":0}`, 201, "", subscription.PlanFields{Name: ptr("Pro"), Code: ptr("pro"), MaxUsage: ptr(0)}},
		{"PUT /plans/" + planID, `{"description":"","name":null}`, 200, planID, subscription.PlanFields{Description: ptr("")}},
		{"DELETE /plans/" + planID, "", 200, planID, nil},
	}
	for _, tt := range tests {
		t.Run(tt.route, func(t *testing.T) {
			t.Parallel()
			l := &lifecycle{}
			w, err := serve(l, administrator, request(tt.route, tt.body))
			require.NoError(t, err)
			require.Equal(t, tt.status, w.Code)
			require.Equal(t, tt.id, l.id)
			require.Equal(t, tt.argument, l.argument)
			l = &lifecycle{err: subscription.ErrNotFound}
			_, err = serve(l, administrator, request(tt.route, tt.body))
			require.ErrorIs(t, err, subscription.ErrNotFound)
			require.Equal(t, 1, l.calls)
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const bill = "PUT /internal/subscriptions/users/" + userID
	tests := []struct {
		route, body string
		err         error
		fields      []string
	}{
		{"GET /subscriptions?statuses=active,ended", "", subscription.ErrBody, []string{"statuses"}},
		{"GET /subscriptions?ids=1", "", subscription.ErrInvalidID, []string{"ids"}},
		{"GET /subscriptions?user_ids=1", "", subscription.ErrInvalidID, []string{"user_ids"}},
		{"GET /subscriptions/page?plan_ids=1", "", subscription.ErrInvalidID, []string{"plan_ids"}},
		{"GET /subscriptions/1", "", subscription.ErrInvalidID, nil},
		{"PUT /subscriptions/1", "{}", subscription.ErrInvalidID, nil},
		{"DELETE /subscriptions/1", "", subscription.ErrInvalidID, nil},
		{"POST /subscriptions", "{}", subscription.ErrBody, []string{"user_id", "plan_id", "status", "starts_at"}},
		{"POST /subscriptions", `{"user_id":1}`, subscription.ErrBody, []string{"user_id"}},
		{
			"PUT /subscriptions/" + subID, `{"user_id":"1","plan_id":"2","status":"ended","starts_at":"today","trial_ends_at":"","ends_at":"2026-02-31T00:00:00Z"}`,
			subscription.ErrBody, []string{"user_id", "plan_id", "status", "starts_at", "trial_ends_at", "ends_at"},
		},
		{"GET /subscriptions/internal/users/1", "", subscription.ErrUserID, nil},
		{"GET /internal/users/1/entitlement", "", subscription.ErrUserID, nil},
		{"PUT /internal/subscriptions/users/1", "{}", subscription.ErrUserID, nil},
		{bill, "{}", subscription.ErrBody, []string{"plan_code", "status", "occurred_at"}},
		{bill, `{"plan":"pro"}`, subscription.ErrBody, []string{"plan"}},
		{bill, `{"plan_code":"pro","status":"trialing","ends_at":"soon","occurred_at":"now"}`, subscription.ErrBody, []string{"status", "ends_at", "occurred_at"}},
		{"GET /plans?ids=1", "", subscription.ErrPlanID, []string{"ids"}},
		{"GET /plans/1", "", subscription.ErrPlanID, nil},
		{"PUT /plans/1", "{}", subscription.ErrPlanID, nil},
		{"DELETE /plans/1", "", subscription.ErrPlanID, nil},
		{"POST /plans", `{"max_usage":"many"}`, subscription.ErrPlanBody, []string{"max_usage"}},
	}
	for _, tt := range tests {
		l := &lifecycle{}
		_, err := serve(l, administrator, request(tt.route, tt.body))
		require.ErrorIs(t, err, tt.err, tt.route)
		require.Zero(t, l.calls, tt.route)
		var fields []string
		for name := range apperror.From(err).Fields {
			fields = append(fields, name)
		}
		require.ElementsMatch(t, tt.fields, fields, tt.route)
	}
	for _, route := range []string{
		"POST /subscriptions", "PUT /subscriptions/1", "DELETE /subscriptions/1", "POST /plans", "PUT /plans/1", "DELETE /plans/1",
	} {
		l := &lifecycle{}
		_, err := serve(l, user, request(route, "no JSON"))
		require.ErrorIs(t, err, subscription.ErrForbidden, "refused before anything is read: %s", route)
		require.Zero(t, l.calls)
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	body := func(l *lifecycle, route string) string {
		w, err := serve(l, user, request(route, ""))
		require.NoError(t, err)
		var answer struct{ Data json.RawMessage }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		return string(answer.Data)
	}
	l := &lifecycle{
		answer: subscription.Subscription{ID: "s", UserID: "u", PlanID: "p", Status: "active", StartsAt: start, CreatedAt: start, UpdatedAt: start},
		plan:   subscription.Plan{ID: "p", Name: "Pro", Code: "pro", Description: "For one", CreatedAt: start, UpdatedAt: start},
	}
	const (
		one      = `{"id":"s","user_id":"u","plan_id":"p","status":"active","starts_at":"2026-01-31T09:30:00Z","created_at":"2026-01-31T09:30:00Z","updated_at":"2026-01-31T09:30:00Z"}`
		plan     = `{"id":"p","name":"Pro","code":"pro","description":"For one","max_usage":0,"created_at":"2026-01-31T09:30:00Z","updated_at":"2026-01-31T09:30:00Z"}`
		metadata = `{"total":31,"count":1,"per_page":15,"current_page":1,"total_pages":3,"has_next":true,"has_prev":false}`
	)
	require.JSONEq(t, `{"subscriptions":[`+one+`]}`, body(l, "GET /subscriptions"))
	require.JSONEq(t, `{"subscriptions":[`+one+`],"metadata":`+metadata+`}`, body(l, "GET /subscriptions/page"))
	require.JSONEq(t, `{"plans":[`+plan+`]}`, body(l, "GET /plans"))
	require.JSONEq(t, `{"plans":[`+plan+`],"metadata":`+metadata+`}`, body(l, "GET /plans/page"))
	require.JSONEq(t, plan, body(l, "GET /plans/"+planID))

	const entitlement = "GET /internal/users/" + userID + "/entitlement"
	require.JSONEq(t, `{"entitled":false,"plan":null,"status":null,"until":null,"version":0}`, body(l, entitlement))
	l.entitlement = subscription.Entitlement{Entitled: true, PlanCode: "pro", Status: "active", Version: 7}
	require.JSONEq(t, `{"entitled":true,"plan":"pro","status":"active","until":null,"version":7}`, body(l, entitlement))
	l.entitlement.Until = &start
	require.JSONEq(t, `{"entitled":true,"plan":"pro","status":"active","until":"2026-01-31T09:30:00Z","version":7}`, body(l, entitlement))
}
