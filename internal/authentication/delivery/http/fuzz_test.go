package http_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/httpserver"
)

// Every body is refused with the fields at fault, or is one whose fields a use case can work with.
func FuzzBody(f *testing.F) {
	paths := []string{
		"/authentication/register", "/authentication/login", "/authentication/send-otp", "/authentication/verify-otp",
		"/authentication/reset-password", "/users/me/change-password", // without forgot-password, which takes its time
	}
	for _, seed := range []string{
		`{"email":"an@example.com","password":"correct horse","remember":true}`, `{"email":"an@example.com","otp":"１２３-４５６","registration":"x"}`,
		`{"email":"an@example.com","otp":"123456","password":"new horse 1","registration":7}`, `{"email":["an@example.com"]}`, `{"email":{"$ne":null}}`, `{}`,
		`{"old_password":"a","new_password":"b"}`, `{"old_password":"a","new_password":"b","old_password":""}`, `{"email":"\u0000","password":"\u0000"}`, `null`, ``,
		`{"email":"an@example.com","password":"` + strings.Repeat("x", 1000) + `"}`, `{"EMAIL":"an@example.com","Password":"x","oTp":"000000"}`,
	} {
		for route := range paths {
			f.Add(uint8(route), []byte(seed), browser+"; smap_auth_token=good")
		}
	}
	f.Add(uint8(0), []byte(`{"email":"an@example.com","password":"x"}`), `"`+browser+`"; __Host-smap_registration=; smap_auth_token="good`)
	f.Add(uint8(1), []byte(`{"email":"an@example.com","password":"x"}`), "a b\x00\xff; smap_auth_token=gone; smap_auth_token=good")
	f.Fuzz(func(t *testing.T, route uint8, body []byte, cookie string) {
		path := paths[int(route)%len(paths)]
		a := &accounts{session: session}
		r := post(path, string(body))
		r.Header.Set("Cookie", "__Host-smap_registration="+cookie)
		response := serve(a, r)
		answer, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Less(t, response.StatusCode, http.StatusInternalServerError)
		require.NotEqual(t, http.StatusNotFound, response.StatusCode)
		var envelope httpserver.Envelope
		require.NoError(t, json.Unmarshal(answer, &envelope))
		require.Equal(t, response.StatusCode >= 400, envelope.ErrorCode != 0, "%s", answer)
		require.Equal(t, response.StatusCode < 400, a.called != "")
		if a.called == "" {
			require.Empty(t, response.Header["Set-Cookie"])
			return
		}
		if a.called != "ChangePassword" {
			require.NotEmpty(t, a.credentials.Email+a.email)
		}
		require.True(t, utf8.ValidString(a.credentials.Email+a.email+a.credentials.Password+a.digits))
		if a.called != "Verify" {
			require.NotEmpty(t, a.credentials.Password)
		}
		if a.called == "Verify" || a.called == "ResetPassword" {
			require.Regexp(t, `^[0-9]{6}$`, a.digits)
		}
		require.LessOrEqual(t, len(a.client.BrowserDigests()), 8)
		for _, c := range response.Cookies() {
			require.Contains(t, []string{"", "signed", browser}, c.Value, "nothing that was sent is set")
		}
	})
}
