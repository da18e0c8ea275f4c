package http_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const loginSet = "smap_auth_token=signed; Path=/; Domain=smap.example; Max-Age=7200; HttpOnly; Secure; SameSite=Lax"

func TestForgotPassword(t *testing.T) {
	t.Parallel()
	a := &accounts{}
	began := time.Now()
	response := serve(a, post("/authentication/forgot-password", `{"email":"an@example.com"}`))
	require.GreaterOrEqual(t, time.Since(began), 150*time.Millisecond, "it never says how long the work took")
	requireAnswer(t, response, http.StatusOK, named)
	require.Equal(t, "ForgotPassword", a.called)
	require.Equal(t, "an@example.com", a.email)
	require.Len(t, response.Header["Set-Cookie"], 1)
}

func TestResetPassword(t *testing.T) {
	t.Parallel()
	a := &accounts{session: session}
	r := post("/authentication/reset-password", `{"email":"an@example.com","otp":"123 456","password":"a better one","registration":"typed"}`)
	response := serve(a, r)
	requireAnswer(t, response, http.StatusOK, `{"error_code":0,"message":"Success","data":{"user":{"id":"`+userID+
		`","email":"an@example.com","full_name":"Nguyễn An"}}}`)
	require.Equal(t, "ResetPassword", a.called)
	require.Equal(t, "123456", a.digits)
	require.Equal(t, "a better one", a.credentials.Password)
	require.Equal(t, []string{"typed"}, a.client.Browsers)
	require.Equal(t, []string{hostOnlyRemoved, loginSet}, response.Header["Set-Cookie"])
}

func TestChangePassword(t *testing.T) {
	t.Parallel()

	t.Run("replaces the login", func(t *testing.T) {
		t.Parallel()
		a := &accounts{session: session}
		r := withCookie(post("/users/me/change-password", `{"old_password":"correct horse","new_password":"a better one"}`), "good")
		response := serve(a, r)
		requireAnswer(t, response, http.StatusOK, success)
		require.Equal(t, "ChangePassword", a.called)
		require.Equal(t, []string{"an@example.com", "correct horse", "a better one"}, []string{a.who.User.Email, a.digits, a.credentials.Password})
		require.Equal(t, []string{hostOnlyRemoved, loginSet}, response.Header["Set-Cookie"])
	})

	t.Run("is for people who are logged in", func(t *testing.T) {
		t.Parallel()
		a := &accounts{}
		response := serve(a, post("/users/me/change-password", `{"old_password":"correct horse","new_password":"a better one"}`))
		require.Equal(t, http.StatusUnauthorized, response.StatusCode)
		require.Empty(t, a.called)
	})
}

func TestNewRequests(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ path, body, errors string }{
		"forgot: nothing":       {"/authentication/forgot-password", `{}`, `{"email":"is required"}`},
		"forgot: unknown field": {"/authentication/forgot-password", `{"email":"a","utm":1}`, `{"utm":"is not known"}`},
		"reset: nothing":        {"/authentication/reset-password", `{}`, `{"email":"is required","otp":"must be 6 digits","password":"is required"}`},
		"change: nothing":       {"/users/me/change-password", `{}`, `{"old_password":"is required","new_password":"is required"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &accounts{}
			response := serve(a, withCookie(post(tc.path, tc.body), "good"))
			requireAnswer(t, response, http.StatusBadRequest,
				`{"error_code":20001,"message":"The request is not valid","errors":`+tc.errors+`}`)
			require.Empty(t, a.called)
		})
	}
}
