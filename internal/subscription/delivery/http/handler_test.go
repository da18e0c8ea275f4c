package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
	delivery "github.com/smap-platform/identity/internal/subscription/delivery/http"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/httpserver"
)

const (
	userID = "0190b6a8-0000-7000-8000-000000000001"
	subID  = "0190b6a8-0000-7000-8000-00000000abcd"
)

// lifecycle records the arguments of the last call, and returns the same from all.
type lifecycle struct {
	answer      subscription.Subscription
	plan        subscription.Plan
	entitlement subscription.Entitlement
	err         error

	actor      subscription.Actor
	id, reason string
	argument   any
	calls      int
}

func (l *lifecycle) called(actor subscription.Actor, id string, argument any) {
	l.calls++
	l.actor, l.id, l.argument = actor, id, argument
}

func (l *lifecycle) Current(_ context.Context, userID string) (subscription.Subscription, subscription.Plan, error) {
	l.called(subscription.Actor{UserID: userID}, "", nil)
	return l.answer, l.plan, l.err
}

func (l *lifecycle) CurrentOf(ctx context.Context, userID string) (subscription.Subscription, subscription.Plan, error) {
	return l.Current(ctx, userID)
}

func (l *lifecycle) Entitlement(_ context.Context, userID string) (subscription.Entitlement, error) {
	l.called(subscription.Actor{UserID: userID}, "", nil)
	return l.entitlement, l.err
}

func (l *lifecycle) List(
	_ context.Context, actor subscription.Actor, f subscription.Filter,
) ([]subscription.Subscription, int, error) {
	l.called(actor, "", f)
	return []subscription.Subscription{l.answer}, 31, l.err
}

func (l *lifecycle) Find(_ context.Context, actor subscription.Actor, id string) (subscription.Subscription, error) {
	l.called(actor, id, nil)
	return l.answer, l.err
}

func (l *lifecycle) Create(
	_ context.Context, actor subscription.Actor, d subscription.Draft,
) (subscription.Subscription, error) {
	l.called(actor, "", d)
	return l.answer, l.err
}

func (l *lifecycle) Update(
	_ context.Context, actor subscription.Actor, id string, a subscription.Amendment,
) (subscription.Subscription, error) {
	l.called(actor, id, a)
	return l.answer, l.err
}

func (l *lifecycle) Cancel(_ context.Context, actor subscription.Actor, id, reason string) (subscription.Subscription, error) {
	l.called(actor, id, nil)
	l.reason = reason
	return l.answer, l.err
}

func (l *lifecycle) Delete(_ context.Context, actor subscription.Actor, id string) error {
	l.called(actor, id, nil)
	return l.err
}

func (l *lifecycle) Apply(_ context.Context, userID string, b subscription.Bill) (subscription.Subscription, error) {
	l.called(subscription.Actor{}, userID, b)
	return l.answer, l.err
}

// catalog is lifecycle for plans.
type catalog struct{ *lifecycle }

func (c catalog) ListPlans(_ context.Context, f subscription.PlanFilter) ([]subscription.Plan, int, error) {
	c.called(subscription.Actor{}, "", f)
	return []subscription.Plan{c.plan}, 31, c.err
}

func (c catalog) FindPlan(_ context.Context, id string) (subscription.Plan, error) {
	c.called(subscription.Actor{}, id, nil)
	return c.plan, c.err
}

func (c catalog) CreatePlan(
	_ context.Context, actor subscription.Actor, f subscription.PlanFields,
) (subscription.Plan, error) {
	c.called(actor, "", f)
	return c.plan, c.err
}

func (c catalog) UpdatePlan(
	_ context.Context, actor subscription.Actor, id string, f subscription.PlanFields,
) (subscription.Plan, error) {
	c.called(actor, id, f)
	return c.plan, c.err
}

func (c catalog) DeletePlan(_ context.Context, actor subscription.Actor, id string) error {
	c.called(actor, id, nil)
	return c.err
}

// serve serves r as principal, or without one if nil. It returns the response, and the error that the handler
// returned to the server's error mapping.
func serve(l *lifecycle, principal *httpserver.Principal, r *http.Request) (*httptest.ResponseRecorder, error) {
	e := echo.New()
	var left error
	e.HTTPErrorHandler = func(err error, _ echo.Context) { left = err }
	authenticated := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if principal != nil {
				httpserver.SetPrincipal(c, *principal)
			}
			return next(c)
		}
	}
	delivery.Register(e.Group(""), l, authenticated)
	delivery.RegisterInternal(e.Group(""), l, httpserver.InternalKey(key))
	delivery.RegisterPlans(e.Group(""), catalog{l}, authenticated)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w, left
}

const key = "an internal key of some length"

var user = &httpserver.Principal{Subject: userID, Name: "a@example.com", Role: "USER"}

func TestCurrent(t *testing.T) {
	t.Parallel()
	t.Run("responds with the subscription", func(t *testing.T) {
		t.Parallel()
		start := time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
		end := start.Add(subscription.TrialLength)
		l := &lifecycle{answer: subscription.Subscription{
			ID: subID, UserID: userID, PlanID: "plan-1", PlanCode: "free", Status: subscription.StatusTrialing, TrialEndsAt: &end,
			StartsAt: start, Version: 1, CreatedAt: start, UpdatedAt: start,
		}, plan: subscription.Plan{ID: "plan-1", Name: "Free", Code: "free", MaxUsage: 100}}
		w, err := serve(l, user, httptest.NewRequest(http.MethodGet, "/subscriptions/me", nil))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, userID, l.actor.UserID)
		require.JSONEq(t, `{"error_code":0,"message":"Success","data":{
		"id":"`+subID+`","user_id":"`+userID+`","plan_id":"plan-1","status":"trialing",
		"trial_ends_at":"2026-02-14T09:30:00.123456Z","starts_at":"2026-01-31T09:30:00.123456Z",
		"created_at":"2026-01-31T09:30:00.123456Z","updated_at":"2026-01-31T09:30:00.123456Z",
		"plan":{"id":"plan-1","name":"Free","code":"free","max_usage":100}}}`, w.Body.String())

		r := httptest.NewRequest(http.MethodGet, "/subscriptions/internal/users/"+strings.ToUpper(userID), nil)
		r.Header.Set("X-Internal-Key", key)
		same, err := serve(l, nil, r)
		require.NoError(t, err)
		require.Equal(t, w.Body.String(), same.Body.String(), "the same for another service")
		require.Equal(t, userID, l.actor.UserID)
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("responds with the subscription", func(t *testing.T) {
		t.Parallel()
		at := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
		l := &lifecycle{answer: subscription.Subscription{
			ID: subID, UserID: userID, PlanID: "plan-1", Status: subscription.StatusCancelled, StartsAt: at, EndsAt: &at, CancelledAt: &at,
			CreatedAt: at, UpdatedAt: at,
		}}
		w, err := serve(l, user, httptest.NewRequest(http.MethodPost, "/subscriptions/"+subID+"/cancel", nil))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, w.Code)
		var got struct{ Data map[string]any }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		require.Equal(t, map[string]any{
			"id": subID, "user_id": userID, "plan_id": "plan-1", "status": "cancelled", "starts_at": "2026-01-31T09:30:00Z",
			"ends_at": "2026-01-31T09:30:00Z", "cancelled_at": "2026-01-31T09:30:00Z",
			"created_at": "2026-01-31T09:30:00Z", "updated_at": "2026-01-31T09:30:00Z",
		}, got.Data)
	})
	t.Run("reads the request", func(t *testing.T) {
		t.Parallel()
		noLength := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) } // chunked
		tests := []struct {
			name, contentType string
			body              io.Reader
			role              string
			wantReason        string
			wantAdmin         bool
		}{
			{"no body", "", nil, "USER", "", false},
			{"no body, declared as JSON", "application/json", nil, "USER", "", false},
			{"an empty chunked body", "", noLength(""), "USER", "", false},
			{"an empty object", "application/json", strings.NewReader("{}"), "USER", "", false},
			{"a reason", "application/json; charset=utf-8", strings.NewReader(`{"reason":"too dear","else":1}`), "USER", "too dear", false},
			{"a reason, chunked", "application/json", noLength(`{"reason":"too dear"}`), "USER", "too dear", false},
			{"an administrator", "", nil, "ADMIN", "", true},
			{"an unknown role", "", nil, "admin", "", false},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				l := &lifecycle{}
				r := httptest.NewRequest(http.MethodPost, "/subscriptions/"+strings.ToUpper(subID)+"/cancel", tt.body)
				if tt.contentType != "" {
					r.Header.Set("Content-Type", tt.contentType)
				}
				_, err := serve(l, &httpserver.Principal{Subject: userID, Role: tt.role}, r)
				require.NoError(t, err)
				require.Equal(t, subscription.Actor{UserID: userID, Admin: tt.wantAdmin}, l.actor)
				require.Equal(t, subID, l.id, "in canonical form")
				require.Equal(t, tt.wantReason, l.reason)
			})
		}
	})
	t.Run("rejects a malformed request", func(t *testing.T) {
		t.Parallel()
		tests := []struct {
			name, id, contentType, body string
			limit                       int64
			status                      int
			sentinel                    error
		}{
			{"an id that is no uuid", "42", "", "", 0, http.StatusBadRequest, subscription.ErrInvalidID},
			{"not JSON", subID, "application/json", "{", 0, http.StatusBadRequest, subscription.ErrBody},
			{"wrong type", subID, "application/json", `{"reason":1}`, 0, http.StatusBadRequest, subscription.ErrBody},
			{"wrong content type", subID, "text/plain", `{"reason":"x"}`, 0, http.StatusUnsupportedMediaType, nil},
			{"content without a type", subID, "", `{"reason":"x"}`, 0, http.StatusUnsupportedMediaType, nil},
			{"too large", subID, "application/json", `{"reason":"` + strings.Repeat("x", 100) + `"}`, 64, http.StatusRequestEntityTooLarge, nil},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				l := &lifecycle{}
				r := httptest.NewRequest(http.MethodPost, "/subscriptions/"+tt.id+"/cancel", strings.NewReader(tt.body))
				if tt.contentType != "" {
					r.Header.Set("Content-Type", tt.contentType)
				}
				if tt.limit > 0 {
					r.Body = http.MaxBytesReader(nil, r.Body, tt.limit)
				}
				_, err := serve(l, user, r)
				require.Zero(t, l.calls)
				if tt.sentinel != nil {
					require.ErrorIs(t, err, tt.sentinel)
					require.Equal(t, tt.status, httpserver.StatusOf(apperror.KindOf(err)))
					return
				}
				he, ok := errors.AsType[*echo.HTTPError](err)
				require.True(t, ok, err)
				require.Equal(t, tt.status, he.Code)
			})
		}
	})
}

func TestRegister(t *testing.T) {
	t.Parallel()
	t.Run("refuses a request without a principal", func(t *testing.T) {
		t.Parallel()
		l := &lifecycle{}
		for _, route := range []string{
			"GET /subscriptions/me", "GET /subscriptions", "GET /subscriptions/page", "GET /subscriptions/" + subID,
			"POST /subscriptions", "PUT /subscriptions/" + subID, "DELETE /subscriptions/" + subID,
			"POST /subscriptions/" + subID + "/cancel", "POST /plans", "PUT /plans/" + subID, "DELETE /plans/" + subID,
			"GET /subscriptions/internal/users/" + userID, "GET /internal/users/" + userID + "/entitlement",
			"PUT /internal/subscriptions/users/" + userID,
		} {
			method, path, _ := strings.Cut(route, " ")
			_, err := serve(l, nil, httptest.NewRequest(method, path, nil))
			he, ok := errors.AsType[*echo.HTTPError](err)
			require.True(t, ok, err)
			require.Equal(t, http.StatusUnauthorized, he.Code)
		}
		require.Zero(t, l.calls)
	})
	t.Run("returns the use case's error", func(t *testing.T) {
		t.Parallel()
		l := &lifecycle{err: subscription.ErrNotFound}
		_, err := serve(l, user, httptest.NewRequest(http.MethodGet, "/subscriptions/me", nil))
		require.ErrorIs(t, err, subscription.ErrNotFound)
		_, err = serve(l, user, httptest.NewRequest(http.MethodPost, "/subscriptions/"+subID+"/cancel", nil))
		require.ErrorIs(t, err, subscription.ErrNotFound)
	})
}
