package http

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/pkg/httpserver"
)

type reader struct{ filter audit.Filter }

func (r *reader) List(_ context.Context, admin bool, f audit.Filter) ([]audit.Entry, int, error) {
	r.filter = f
	if !admin {
		return nil, 0, audit.ErrForbidden
	}
	return []audit.Entry{{ID: "id", At: time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC), Action: audit.UserEnabled, Outcome: audit.Done}}, 31, nil
}

func get(r Reader, role, query string) *httptest.ResponseRecorder {
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop()})
	Register(e.Group(""), r, func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			httpserver.SetPrincipal(c, httpserver.Principal{Subject: "user-1", Role: role})
			return next(c)
		}
	})
	response := httptest.NewRecorder()
	e.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/audit"+query, http.NoBody))
	return response
}

func TestAudit(t *testing.T) {
	t.Parallel()
	const user, actor = "019c1000-0000-7000-8000-000000000001", "019c1000-0000-7000-8000-00000000000a"

	t.Run("shows a page of what the query selects", func(t *testing.T) {
		t.Parallel()
		r := &reader{}
		response := get(r, "ADMIN", "?user_id="+user+"&actor_id="+actor+
			"&action=user.enabled&since=2026-01-01T00:00:00Z&until=2026-02-01T07:00:00%2B07:00&page=2&limit=10")
		require.Equal(t, http.StatusOK, response.Code, response.Body)
		require.Equal(t, audit.UserEnabled, r.filter.Action)
		require.Equal(t, []string{user, actor}, []string{r.filter.UserID, r.filter.ActorID})
		require.True(t, r.filter.Until.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)))
		require.Equal(t, []int{10, 10}, []int{r.filter.Limit, r.filter.Offset})
		require.JSONEq(t, `{"error_code":0,"message":"Success","data":{
			"entries":[{"id":"id","at":"2026-01-31T09:30:00Z","action":"user.enabled","outcome":"done"}],
			"metadata":{"total":31,"count":1,"per_page":10,"current_page":2,"total_pages":4,"has_next":true,"has_prev":true}}}`,
			response.Body.String())
	})

	t.Run("names every filter at fault", func(t *testing.T) {
		t.Parallel()
		response := get(&reader{}, "ADMIN", "?user_id=x&actor_id=y&action=a,b&since=yesterday&until=99999-01-01T00:00:00Z")
		require.Equal(t, http.StatusBadRequest, response.Code)
		var body struct{ Errors map[string]string }
		require.NoError(t, json.Unmarshal(response.Body.Bytes(), &body))
		require.Len(t, body.Errors, 5)
		require.Equal(t, http.StatusBadRequest, get(&reader{}, "ADMIN", "?action=%00").Code)
	})

	t.Run("is for administrators, whatever they ask", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, http.StatusForbidden, get(&reader{}, "USER", "?user_id=x").Code)
		require.Equal(t, http.StatusForbidden, get(&reader{}, "", "").Code)
	})
}
