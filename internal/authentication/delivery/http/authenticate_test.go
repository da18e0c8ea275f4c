package http_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestAuthenticate(t *testing.T) {
	t.Parallel()

	t.Run("takes the first valid token", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			cookies, headers []string
			want             string // empty: refused
			lookups          int
			mixed            []string
		}{
			"a cookie":                      {cookies: []string{"good"}, want: userID, lookups: 1},
			"a bearer":                      {headers: []string{"Bearer good"}, want: userID, lookups: 1},
			"a bearer in any case":          {headers: []string{"bearer  good"}, want: userID, lookups: 1},
			"a cookie before a bad bearer":  {cookies: []string{"good"}, headers: []string{"Bearer bad"}, want: userID, lookups: 1},
			"a bearer behind a bad cookie":  {cookies: []string{"bad"}, headers: []string{"Bearer good"}, want: userID, lookups: 1},
			"a bearer behind an empty one":  {cookies: []string{""}, headers: []string{"Bearer good"}, want: userID, lookups: 1},
			"a cookie behind a bad one":     {cookies: []string{"bad", "good"}, want: userID, lookups: 1},
			"a cookie before a bad one":     {cookies: []string{"good", "bad"}, want: userID, lookups: 1},
			"a cookie behind many":          {cookies: []string{"", "bad", "bad", "bad", "good"}, want: userID, lookups: 1},
			"the second bearer":             {headers: []string{"Basic x", "Bearer bad", "Bearer good"}, want: userID, lookups: 1},
			"one of the same user twice":    {cookies: []string{"good", "good"}, want: userID, lookups: 1},
			"a cookie behind one of nobody": {cookies: []string{"gone", "gone", "good"}, want: userID, lookups: 2, mixed: []string{userID, goneID}},
			"the first of two users": {cookies: []string{"other", "good"}, want: otherID, lookups: 1,
				mixed: []string{otherID, userID}},
			"the cookie before another's bearer": {cookies: []string{"good"}, headers: []string{"Bearer other"}, want: userID,
				lookups: 1, mixed: []string{userID, otherID}},
			"nothing":                        {},
			"a bad cookie":                   {cookies: []string{"bad"}},
			"a bad bearer":                   {headers: []string{"Bearer bad"}},
			"a bearer without a token":       {headers: []string{"Bearer"}},
			"another scheme":                 {headers: []string{"Basic good"}},
			"a bare token, no scheme":        {headers: []string{"good"}},
			"a token after something longer": {headers: []string{"Bearer x good"}},
			"a user who is gone":             {cookies: []string{"gone"}, headers: []string{"Bearer gone"}, lookups: 1},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				for _, token := range tc.cookies {
					withCookie(r, token)
				}
				for _, header := range tc.headers {
					r.Header.Add("Authorization", header)
				}
				c := echo.New().NewContext(r, httptest.NewRecorder())
				p, reached := &people{}, false
				err := p.authenticate()(func(c echo.Context) error {
					reached = true
					got, ok := httpserver.PrincipalOf(c)
					require.True(t, ok)
					require.Equal(t, httpserver.Principal{Subject: tc.want, Name: an.Email, Role: "ADMIN"}, got,
						"as the database says, not the token")
					return nil
				})(c)
				require.Equal(t, tc.lookups, p.lookups)
				require.Equal(t, tc.mixed, p.mixed)
				require.Equal(t, tc.want != "", reached)
				if reached {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, authentication.ErrUnauthenticated)
				}
			})
		}
	})

	t.Run("returns the error of the database", func(t *testing.T) {
		t.Parallel()

		r := withCookie(withCookie(httptest.NewRequest(http.MethodGet, "/", nil), "other"), "good")
		p := &people{err: errBroken}
		err := p.authenticate()(func(echo.Context) error { panic("reached") })(echo.New().NewContext(r, httptest.NewRecorder()))
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, 1, p.lookups)
	})

	t.Run("guards me", func(t *testing.T) {
		t.Parallel()
		a := &accounts{}
		response := serve(a, httptest.NewRequest(http.MethodGet, "/authentication/me", nil))
		requireAnswer(t, response, http.StatusUnauthorized, `{"error_code":401,"message":"Please log in"}`)
		require.Empty(t, response.Cookies())
	})
}
