package http_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	delivery "github.com/smap-platform/identity/internal/authentication/delivery/http"
	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestAuthenticate(t *testing.T) {
	t.Parallel()

	t.Run("finds the token", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			cookie, header string
			want           bool
		}{
			"cookie":                         {cookie: "good", want: true},
			"bearer":                         {header: "Bearer good", want: true},
			"bearer in any case":             {header: "bearer  good", want: true},
			"the cookie comes first":         {cookie: "good", header: "Bearer bad", want: true},
			"even when it is bad":            {cookie: "bad", header: "Bearer good"},
			"an empty cookie is none":        {cookie: "", header: "Bearer good", want: true},
			"nothing":                        {},
			"bad cookie":                     {cookie: "bad"},
			"bad bearer":                     {header: "Bearer bad"},
			"bearer without a token":         {header: "Bearer"},
			"another scheme":                 {header: "Basic good"},
			"a bare token, no scheme":        {header: "good"},
			"a token after something longer": {header: "Bearer x good"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := withCookie(httptest.NewRequest(http.MethodGet, "/", nil), tc.cookie)
				if tc.header != "" {
					r.Header.Set("Authorization", tc.header)
				}
				c := echo.New().NewContext(r, httptest.NewRecorder())
				reached := false
				err := delivery.Authenticate(tokens{}, options.Name)(func(c echo.Context) error {
					reached = true
					p, ok := httpserver.PrincipalOf(c)
					require.True(t, ok)
					require.Equal(t, httpserver.Principal{Subject: userID, Name: "an@example.com", Role: "ADMIN"}, p)
					return nil
				})(c)
				require.Equal(t, tc.want, reached)
				if tc.want {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, authentication.ErrUnauthenticated)
				}
			})
		}
	})

	t.Run("guards logout and me", func(t *testing.T) {
		t.Parallel()
		for method, path := range map[string]string{http.MethodPost: "/authentication/logout", http.MethodGet: "/authentication/me"} {
			a := &accounts{user: an}
			response := serve(a, httptest.NewRequest(method, path, nil))
			requireAnswer(t, response, http.StatusUnauthorized, `{"error_code":401,"message":"Please log in"}`)
			require.Empty(t, a.called)
			require.Empty(t, response.Cookies())
		}
	})
}
