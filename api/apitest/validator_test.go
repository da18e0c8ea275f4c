package apitest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const success = `{"error_code":0,"message":"Success","data":{"registration":"q83vEjRWeJASNFZ4kBI0VniQEjRWeJASNFZ4kBI0Vng"}}`

// exchange is a request with its response, on the headers of a good call.
type exchange struct {
	method, path, sent  string
	request, response   map[string]string // headers that replace the good ones; "" removes one
	status              int
	answer, wantedError string
}

func (x exchange) build() (*http.Request, []byte, *http.Response) {
	request := httptest.NewRequest(x.method, x.path, strings.NewReader(x.sent))
	request.Header.Set("Content-Type", "application/json")
	response := &http.Response{
		StatusCode: x.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(x.answer)), Request: request,
	}
	response.Header.Set("Content-Type", "application/json")
	response.Header.Set("X-Request-ID", "7b1f6c1e")
	if strings.HasSuffix(x.path, "/send-otp") {
		response.Header.Set("Set-Cookie", "smap_registration=q83vEjRWeJASNFZ4kBI0VniQEjRWeJASNFZ4kBI0Vng; Path=/; Max-Age=1800; HttpOnly")
	}
	for _, pair := range []struct {
		headers http.Header
		change  map[string]string
	}{{request.Header, x.request}, {response.Header, x.response}} {
		for name, value := range pair.change {
			pair.headers.Set(name, value)
			if value == "" {
				pair.headers.Del(name)
			}
		}
	}
	return request, []byte(x.sent), response
}

func TestValidator(t *testing.T) {
	t.Parallel()
	t.Run("checks request and response", func(t *testing.T) {
		t.Parallel()
		const sendOTP, login, me = "/authentication/send-otp", "/authentication/login", "/authentication/me"
		const good = `{"email":"an@example.com","password":"correct horse"}`
		const user = `{"error_code":0,"message":"Success","data":{"id":"019c1000-0000-7000-8000-000000000001","email":"an@example.com"}}`
		loggedIn := map[string]string{"Cookie": "smap_auth_token=x"}
		cookie := map[string]string{"Set-Cookie": "smap_auth_token=x; Path=/; Max-Age=7200; HttpOnly; SameSite=Lax"}
		loginAnswer := strings.Replace(user, `"data":`, `"data":{"user":`, 1) + "}"

		for name, x := range map[string]exchange{
			"good":                  {"POST", sendOTP, good, nil, nil, 200, success, ""},
			"good, prefixed":        {"POST", "/identity" + sendOTP, good, nil, nil, 200, success, ""},
			"good, with more in it": {"POST", sendOTP, `{"utm":1,` + good[1:], nil, nil, 200, success, ""},
			"good, by cookie":       {"GET", me, "", loggedIn, nil, 200, user, ""},
			"good, by bearer":       {"GET", me, "", map[string]string{"Authorization": "Bearer x"}, nil, 200, user, ""},
			"good, sets the cookie": {"POST", login, good, nil, cookie, 200, loginAnswer, ""},
			"good, no body": {
				"POST", "/subscriptions/019c1000-0000-7000-8000-00000000abcd/cancel", "", loggedIn, nil, 409,
				`{"error_code":130009,"message":"x"}`, "",
			},
			"rightly refused": {"POST", sendOTP, `{`, nil, nil, 400, `{"error_code":20001,"message":"x","errors":{"body":"x"}}`, ""},

			"unknown path":           {"GET", "/nothing", "", nil, nil, 200, success, "no matching operation"},
			"unknown method":         {"GET", sendOTP, "", nil, nil, 200, success, "method not allowed"},
			"unknown status":         {"POST", sendOTP, good, nil, nil, 418, success, "status is not supported"},
			"another route's status": {"POST", sendOTP, good, nil, nil, 202, success, "status is not supported"},
			"another route's code":   {"POST", sendOTP, good, nil, nil, 401, `{"error_code":401,"message":"x"}`, "error_code"},
			"unknown field":          {"POST", sendOTP, good, nil, nil, 200, `{"error_code":0,"message":"Success","data":null}`, "data"},
			"unknown field of data":  {"GET", me, "", loggedIn, nil, 200, strings.Replace(user, `"email"`, `"role":"USER","email"`, 1), "role"},
			"missing field":          {"GET", me, "", loggedIn, nil, 200, `{"error_code":0,"message":"Success"}`, "data"},
			"no uuid":                {"GET", me, "", loggedIn, nil, 200, strings.Replace(user, "019c", "zzzz", 1), "uuid"},
			"not JSON":               {"POST", sendOTP, good, nil, nil, 200, `Success`, "failed to decode"},
			"not said to be JSON": {
				"POST", sendOTP, good, nil, map[string]string{"Content-Type": "text/html"}, 200, success, "Content-Type",
			},
			"no request id": {"POST", sendOTP, good, nil, map[string]string{"X-Request-ID": ""}, 200, success, "X-Request-ID"},
			"no cookie":     {"POST", login, good, nil, nil, 200, loginAnswer, "Set-Cookie"},
			"a cookie that scripts can read": {
				"POST", login, good, nil, map[string]string{"Set-Cookie": "smap_auth_token=x; Path=/; Max-Age=7200"}, 200,
				loginAnswer, "Set-Cookie",
			},
			"accepted without a login":        {"GET", me, "", nil, nil, 200, user, "forbids"},
			"accepted with half a login":      {"GET", me, "", map[string]string{"Authorization": "Bearer "}, nil, 200, user, "forbids"},
			"accepted without a body":         {"POST", sendOTP, "", nil, nil, 200, success, "forbids"},
			"accepted without a field":        {"POST", sendOTP, `{"email":"an@example.com"}`, nil, nil, 200, success, "forbids"},
			"accepted with the wrong type":    {"POST", sendOTP, `{"email":"an@example.com","password":1}`, nil, nil, 200, success, "forbids"},
			"accepted with a foreign content": {"POST", sendOTP, good, map[string]string{"Content-Type": "text/plain"}, nil, 200, success, "forbids"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				request, body, response := x.build()
				err := New(t).check(request, body, response)
				if x.wantedError == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, x.wantedError)
				}
			})
		}
	})

	t.Run("leaves the body to be read", func(t *testing.T) {
		t.Parallel()
		request, body, response := exchange{
			method: "POST", path: "/authentication/send-otp", sent: `{"email":"a@b.example","password":"x"}`, status: 200, answer: success,
		}.build()
		New(t).Check(t, request, body, response)
		got, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.JSONEq(t, success, string(got))
	})

	t.Run("lists the routes", func(t *testing.T) {
		t.Parallel()
		routes := New(t).Routes()
		require.IsIncreasing(t, routes)
		require.Subset(t, routes, []string{"GET /live", "GET /users/:id", "POST /authentication/login", "PUT /users/me"})
	})
}
