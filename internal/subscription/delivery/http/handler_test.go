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

type lifecycle struct {
	answer subscription.Subscription
	err    error

	actor      subscription.Actor
	id, reason string
	calls      int
}

func (l *lifecycle) Current(_ context.Context, userID string) (subscription.Subscription, error) {
	l.calls++
	l.actor.UserID = userID
	return l.answer, l.err
}

func (l *lifecycle) Cancel(_ context.Context, actor subscription.Actor, id, reason string) (subscription.Subscription, error) {
	l.calls++
	l.actor, l.id, l.reason = actor, id, reason
	return l.answer, l.err
}

// serve serves r as principal, or without one if nil. It returns the response, and the error that the handler
// returned to the server's error mapping.
func serve(l *lifecycle, principal *httpserver.Principal, r *http.Request) (*httptest.ResponseRecorder, error) {
	e := echo.New()
	var left error
	e.HTTPErrorHandler = func(err error, _ echo.Context) { left = err }
	delivery.Register(e.Group(""), l, func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if principal != nil {
				httpserver.SetPrincipal(c, *principal)
			}
			return next(c)
		}
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w, left
}

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
		}}
		w, err := serve(l, user, httptest.NewRequest(http.MethodGet, "/subscriptions/me", nil))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, userID, l.actor.UserID)
		require.JSONEq(t, `{"error_code":0,"message":"Success","data":{
		"id":"`+subID+`","user_id":"`+userID+`","plan_id":"plan-1","status":"trialing",
		"trial_ends_at":"2026-02-14T09:30:00.123456Z","starts_at":"2026-01-31T09:30:00.123456Z",
		"created_at":"2026-01-31T09:30:00.123456Z","updated_at":"2026-01-31T09:30:00.123456Z"}}`, w.Body.String())
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
		for _, r := range []*http.Request{
			httptest.NewRequest(http.MethodGet, "/subscriptions/me", nil),
			httptest.NewRequest(http.MethodPost, "/subscriptions/"+subID+"/cancel", nil),
		} {
			_, err := serve(l, nil, r)
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
