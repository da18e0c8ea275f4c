package app

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestEdge(t *testing.T) {
	const front, evil, sibling = "https://app.smap.example", "https://evil.test", "https://blog.smap.example"
	t.Setenv("CORS_ORIGINS", front)
	t.Setenv("TRUSTED_PROXIES", "192.0.2.0/24")
	p := start(t, t.TempDir())
	const email, password = "minh.tran@example.com", "a long enough one"
	p.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": password}, "Origin", front)
	mails, err := p.Inbox().Wait(t.Context(), email, 1)
	require.NoError(t, err)
	p.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp",
		fields{"email": email, "otp": sixDigits.FindString(mails[0].Text)}, "Origin", front, "Sec-Fetch-Site", "same-site")

	t.Run("the start says whose pages may call, and which proxies count", func(t *testing.T) {
		require.Contains(t, p.logs.String(), `"origins":["`+front+`"],"message":"pages of these origins may call"`)
		require.Contains(t, p.logs.String(), `"proxies":["192.0.2.0/24"],"message":"the X-Forwarded headers of these proxies count"`)
	})

	t.Run("a listed page gets CORS headers below the prefix as well", func(t *testing.T) {
		for method, status := range map[string]int{http.MethodOptions: http.StatusNoContent, http.MethodPost: http.StatusOK} {
			h := p.header(t, method, "/identity/authentication/login", `{"email":"`+email+`","password":"`+password+`"}`, status,
				"Origin", front, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,lang")
			require.Equal(t, front, h.Get("Access-Control-Allow-Origin"), method)
			require.Equal(t, "true", h.Get("Access-Control-Allow-Credentials"), method)
			require.Contains(t, h.Values("Vary"), "Origin", method)
		}
	})

	t.Run("another site's page changes nothing on any route", func(t *testing.T) {
		var mine struct{ ID string }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil), &mine))
		parameter := regexp.MustCompile(`:[a-z_]+`)
		tried := 0
		for _, route := range p.web.Routes() {
			if slices.Contains([]string{http.MethodGet, http.MethodHead, "echo_route_not_found"}, route.Method) {
				continue
			}
			for _, id := range []string{mine.ID, uuid.NewString()} {
				path := parameter.ReplaceAllString(route.Path, id)
				for _, header := range [][]string{
					{"Origin", evil, "Sec-Fetch-Site", "cross-site"},
					{"Origin", sibling, "Sec-Fetch-Site", "same-site"},
					{"Origin", evil},
					{"Origin", "null", "Sec-Fetch-Site", "cross-site"},
					{"Origin", evil, "X-Forwarded-Host", "evil.test"},
				} {
					status, code, _ := p.call(t, route.Method, path, nil, header...)
					require.Equal(t, []int{403, 403}, []int{status, code}, "%s %s %q", route.Method, path, header)
					tried++
				}
			}
		}
		require.Greater(t, tried, 100)

		p.ok(t, http.StatusOK, http.MethodGet, "/authentication/me", nil)
		var after struct{ ID, Status string }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil), &after))
		require.Equal(t, "trialing", after.Status)
	})

	t.Run("its own pages and listed ones change what they may, without a body too", func(t *testing.T) {
		var mine struct{ ID string }
		require.NoError(t, json.Unmarshal(p.ok(t, http.StatusOK, http.MethodGet, "/subscriptions/me", nil), &mine))
		p.ok(t, http.StatusOK, http.MethodPost, "/subscriptions/"+mine.ID+"/cancel", nil, "Sec-Fetch-Site", "same-origin", "Origin", p.APIURL())
		p.ok(t, http.StatusOK, http.MethodPost, "/authentication/logout", nil, "Sec-Fetch-Site", "cross-site", "Origin", front)
	})
}

// header makes a request and returns the header of its response.
func (p *program) header(t *testing.T, method, path, body string, status int, header ...string) http.Header {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.APIURL()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	for pair := range slices.Chunk(header, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	response, err := p.client.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, status, response.StatusCode)
	return response.Header
}
