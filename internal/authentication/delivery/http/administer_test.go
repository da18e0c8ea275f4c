package http_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	delivery "github.com/smap-platform/identity/internal/authentication/delivery/http"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/pkg/httpserver"
)

var (
	_ delivery.Administration = (*usecase.Administration)(nil)
	_ delivery.Deleter        = (*usecase.Deleter)(nil)
)

// office remembers what it was asked.
type office struct {
	called string
	err    error
}

func (o *office) call(name string, actor authentication.Actor, id, more string) (authentication.User, error) {
	o.called = fmt.Sprintf("%s %s %s %s", name, actor.UserID, id, more)
	return full, o.err
}

func (o *office) ChangeRole(
	_ context.Context, actor authentication.Actor, id string, role authentication.Role,
) (authentication.User, error) {
	return o.call("ChangeRole", actor, id, string(role))
}

func (o *office) Disable(_ context.Context, actor authentication.Actor, id, reason string) (authentication.User, error) {
	return o.call("Disable", actor, id, reason)
}

func (o *office) Enable(_ context.Context, actor authentication.Actor, id string) (authentication.User, error) {
	return o.call("Enable", actor, id, "")
}

func (o *office) Delete(_ context.Context, actor authentication.Actor, id, reason string) (authentication.User, error) {
	return o.call("Delete", actor, id, reason)
}

func (o *office) DeleteOwn(_ context.Context, u authentication.User, password string, _ authentication.Client) error {
	_, err := o.call("DeleteOwn", authentication.Actor{}, u.ID, password)
	return err
}

func (o *office) serve(role authentication.Role, method, path, body string) *http.Response {
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop()})
	delivery.RegisterAdministration(e.Group(""), o, o, (&people{role: role}).authentication(options))
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, withCookie(r, "good"))
	return w.Result()
}

func TestAdministration(t *testing.T) {
	t.Parallel()
	const path = "/users/" + otherID
	routes := []struct{ method, path, body, want string }{
		{http.MethodPut, path + "/role", `{"role":"ADMIN"}`, "ChangeRole " + userID + " " + otherID + " ADMIN"},
		{http.MethodPost, path + "/disable", `{"reason":"fraud"}`, "Disable " + userID + " " + otherID + " fraud"},
		{http.MethodPost, path + "/disable", "", "Disable " + userID + " " + otherID + " "},
		{http.MethodPost, path + "/enable", "", "Enable " + userID + " " + otherID + " "},
		{http.MethodDelete, path, `{"reason":"fraud"}`, "Delete " + userID + " " + otherID + " fraud"},
		{http.MethodDelete, path, "", "Delete " + userID + " " + otherID + " "},
	}
	for _, r := range routes {
		t.Run(r.method+" "+r.path+" "+r.body, func(t *testing.T) {
			t.Parallel()
			o := &office{}
			response := o.serve(authentication.RoleAdmin, r.method, r.path, r.body)
			requireAnswer(t, response, http.StatusOK, data(fullJSON))
			require.Equal(t, r.want, o.called)

			o = &office{}
			require.Equal(t, http.StatusForbidden, o.serve(authentication.RoleUser, r.method, r.path, `{"x`).StatusCode)
			bad := strings.Replace(r.path, otherID, "x", 1)
			require.Equal(t, http.StatusBadRequest, o.serve(authentication.RoleAdmin, r.method, bad, r.body).StatusCode)
			if r.body != "" {
				require.Equal(t, http.StatusBadRequest, o.serve(authentication.RoleAdmin, r.method, r.path, `{"why":"fraud"}`).StatusCode)
			}
			require.Empty(t, o.called)
			o.err = authentication.ErrLastAdmin
			require.Equal(t, http.StatusConflict, o.serve(authentication.RoleAdmin, r.method, r.path, r.body).StatusCode)
		})
	}

	t.Run("people delete themselves, and the cookie goes", func(t *testing.T) {
		t.Parallel()
		o := &office{}
		response := o.serve(authentication.RoleUser, http.MethodDelete, "/users/me", `{"password":"their own"}`)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Equal(t, "DeleteOwn  "+userID+" their own", o.called)
		require.Contains(t, strings.Join(response.Header.Values("Set-Cookie"), "\n"), "smap_auth_token=; Path=/; Domain=smap.example; Max-Age=0")

		for _, body := range []string{"", `{}`, `{"password":""}`, `{"password":"a","why":"b"}`} {
			o = &office{}
			response = o.serve(authentication.RoleUser, http.MethodDelete, "/users/me", body)
			require.GreaterOrEqual(t, response.StatusCode, http.StatusBadRequest)
			require.Empty(t, o.called)
		}
		o.err = authentication.ErrWrongPassword
		response = o.serve(authentication.RoleUser, http.MethodDelete, "/users/me", `{"password":"not theirs"}`)
		require.Equal(t, http.StatusUnauthorized, response.StatusCode)
		require.Empty(t, response.Header.Values("Set-Cookie"))
	})
}
