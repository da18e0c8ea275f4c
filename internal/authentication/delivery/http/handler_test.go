package http_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

const success = `{"error_code":0,"message":"Success"}`

var credentials = authentication.Credentials{Email: "an@example.com", Password: "correct horse"}

// named is the answer that names the browser.
var named = `{"error_code":0,"message":"Success","data":{"registration":"` + browser + `"}}`

func TestRegister(t *testing.T) {
	t.Parallel()

	t.Run("names the browser, and logs nobody in before the address is proven", func(t *testing.T) {
		t.Parallel()
		a := &accounts{}
		r := post("/authentication/register", `{"email":"an@example.com","password":"correct horse","utm_source":"x"}`)
		r.Header.Set("lang", "vi")
		r.Header.Set("User-Agent", "Firefox")
		r.RemoteAddr = "203.0.113.7:1234"
		response := serve(a, r)
		requireAnswer(t, response, http.StatusCreated, named)
		require.Equal(t, &accounts{
			called: "Register", credentials: credentials,
			client: authentication.Client{IP: netip.MustParseAddr("203.0.113.7"), UserAgent: "Firefox", Locale: "vi"},
		}, a)
		require.Equal(t, []string{
			"__Host-smap_registration=" + browser + "; Path=/; Max-Age=1800; HttpOnly; Secure; SameSite=Lax",
		}, response.Header["Set-Cookie"], "without a domain, whatever that of the login")
	})

	t.Run("does so without TLS under another name", func(t *testing.T) {
		t.Parallel()
		plain := options
		plain.Secure = false
		a := &accounts{}
		r := post("/authentication/register", `{"email":"an@example.com","password":"correct horse"}`)
		r.AddCookie(&http.Cookie{Name: "smap_registration", Value: "mine"})
		r.AddCookie(&http.Cookie{Name: "__Host-smap_registration", Value: "another"})
		response := serveWith(plain, a, r)
		require.Equal(t, []string{"smap_registration=" + browser + "; Path=/; Max-Age=1800; HttpOnly; SameSite=Lax"},
			response.Header["Set-Cookie"])
		require.Equal(t, []string{"mine"}, a.client.Browsers)
	})
}

// keeper names browsers as the use cases do.
type keeper struct{ *accounts }

func (keeper) Register(_ context.Context, _ authentication.Credentials, c authentication.Client) (string, error) {
	return c.Browser(), nil
}

func (keeper) SendCode(_ context.Context, _ authentication.Credentials, c authentication.Client) (string, error) {
	return c.Browser(), nil
}

func TestNameOfBrowser(t *testing.T) {
	t.Parallel()
	const name = "__Host-smap_registration"
	other := authentication.NewBrowser()
	for what, tc := range map[string]struct {
		cookies [][2]string
		kept    string // empty: another value replaces them
	}{
		"is made where there is none":      {},
		"is kept":                          {cookies: [][2]string{{name, browser}}, kept: browser},
		"is the first of several":          {cookies: [][2]string{{name, other}, {name, browser}}, kept: other},
		"is the first that can be ours":    {cookies: [][2]string{{name, "planted"}, {name, browser}}, kept: browser},
		"is replaced where it is empty":    {cookies: [][2]string{{name, ""}}},
		"is replaced where it is too long": {cookies: [][2]string{{name, browser + "AA"}}},
		"is not that of another host, nor of a page without TLS": {
			cookies: [][2]string{{"smap_registration", other}, {"__Secure-smap_registration", other}},
		},
	} {
		for _, path := range []string{"register", "send-otp"} {
			t.Run(what+": "+path, func(t *testing.T) {
				t.Parallel()
				r := post("/authentication/"+path, `{"email":"an@example.com","password":"correct horse"}`)
				for _, c := range tc.cookies {
					r.AddCookie(&http.Cookie{Name: c[0], Value: c[1]})
				}
				response := servePeople(&people{}, options, keeper{&accounts{}}, r)
				require.Len(t, response.Cookies(), 1)
				cookie := response.Cookies()[0]
				require.Equal(t, name, cookie.Name)
				require.Equal(t, 1800, cookie.MaxAge, "it lives on from now")
				body, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.JSONEq(t, `{"error_code":0,"message":"Success","data":{"registration":"`+cookie.Value+`"}}`, string(body))
				if tc.kept != "" {
					require.Equal(t, tc.kept, cookie.Value)
					return
				}
				_, ok := authentication.BrowserDigest(cookie.Value)
				require.True(t, ok, cookie.Value)
				require.NotContains(t, []string{browser, other}, cookie.Value)
			})
		}
	}
}

func TestSendOTP(t *testing.T) {
	t.Parallel()
	a := &accounts{}
	r := post("/authentication/send-otp", `{"email":"an@example.com","password":"correct horse"}`)
	r.AddCookie(&http.Cookie{Name: "__Host-smap_registration", Value: "first"})
	r.AddCookie(&http.Cookie{Name: "__Host-smap_registration", Value: "second"})
	response := serve(a, r)
	requireAnswer(t, response, http.StatusOK, named)
	require.Equal(t, "SendCode", a.called)
	require.Equal(t, credentials, a.credentials)
	require.Equal(t, "en", a.client.Locale)
	require.Equal(t, []string{"first", "second"}, a.client.Browsers)
	require.Len(t, response.Cookies(), 1)
}

func TestVerifyOTP(t *testing.T) {
	t.Parallel()

	t.Run("logs in", func(t *testing.T) {
		t.Parallel()
		a := &accounts{session: session}
		r := post("/authentication/verify-otp", `{"email":"an@example.com","otp":" 012-345 ","registration":"typed"}`)
		r.AddCookie(&http.Cookie{Name: "__Host-smap_registration", Value: "cookie"})
		response := serve(a, r)
		requireAnswer(t, response, http.StatusOK, success)
		require.Equal(t, "Verify", a.called)
		require.Equal(t, "an@example.com", a.email)
		require.Equal(t, "012345", a.digits)
		require.Equal(t, []string{"typed", "cookie"}, a.client.Browsers)
		require.Equal(t, []string{
			hostOnlyRemoved,
			"smap_auth_token=signed; Path=/; Domain=smap.example; Max-Age=7200; HttpOnly; Secure; SameSite=Lax",
		}, response.Header["Set-Cookie"])
	})

	t.Run("takes digits as they are pasted", func(t *testing.T) {
		t.Parallel()
		for _, pasted := range []string{"123456", "123 456", "123-456", "１２３４５６", "\\u00a0123\\u2011456\\n", "١٢٣٤٥٦", "𝟏𝟚𝟥𝟰𝟻𝟼"} {
			a := &accounts{session: session}
			response := serve(a, post("/authentication/verify-otp", `{"email":"an@example.com","otp":"`+pasted+`"}`))
			requireAnswer(t, response, http.StatusOK, success)
			require.Equal(t, "123456", a.digits, pasted)
		}
	})

	t.Run("knows the browser by the body or by any of its cookies", func(t *testing.T) {
		t.Parallel()
		const body = `{"email":"an@example.com","otp":"123456"`
		for name, tc := range map[string]struct {
			body    string
			cookies []string
			want    int
		}{
			"neither":            {body: body + `}`},
			"an empty one":       {body: body + `,"registration":""}`},
			"null":               {body: body + `,"registration":null}`},
			"what cannot be one": {body: body + `,"registration":"planted"}`, cookies: []string{"planted", ""}},
			"the body":           {body: body + `,"registration":"` + browser + `"}`, want: 1},
			"a cookie":           {body: body + `}`, cookies: []string{browser}, want: 1},
			"several cookies":    {body: body + `}`, cookies: []string{"planted", authentication.NewBrowser(), browser}, want: 2},
			"both": {
				body: body + `,"registration":"` + authentication.NewBrowser() + `"}`, cookies: []string{browser}, want: 2,
			},
		} {
			a := &accounts{session: session}
			r := post("/authentication/verify-otp", tc.body)
			for _, value := range tc.cookies {
				r.AddCookie(&http.Cookie{Name: "__Host-smap_registration", Value: value})
			}
			requireAnswer(t, serve(a, r), http.StatusOK, success)
			require.Len(t, a.client.BrowserDigests(), tc.want, name)
		}
	})
}

func TestLogin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body     string
		lifetime time.Duration
		fullName string
		remember bool
		data     string
		maxAge   string
	}{
		"for hours": {
			body:     `{"email":"an@example.com","password":"correct horse"}`,
			lifetime: 2 * time.Hour, fullName: "Nguyễn An", maxAge: "7200",
			data: `{"user":{"id":"` + userID + `","email":"an@example.com","full_name":"Nguyễn An"}}`,
		},
		"for days, with all that the front end sends": {
			body: `{"email":"an@example.com","password":"correct horse","remember":true,"user_agent":"x","ip_address":"::1",` +
				`"device_name":"y"}`,
			lifetime: 2592000 * time.Second, remember: true, maxAge: "2592000",
			data: `{"user":{"id":"` + userID + `","email":"an@example.com"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &accounts{session: session}
			a.session.Token.Lifetime, a.session.User.FullName = tc.lifetime, tc.fullName
			response := serve(a, post("/authentication/login", tc.body))
			requireAnswer(t, response, http.StatusOK, `{"error_code":0,"message":"Success","data":`+tc.data+`}`)
			require.Equal(t, "Login", a.called)
			require.Equal(t, credentials, a.credentials)
			require.Equal(t, tc.remember, a.remember)
			require.Equal(t, []string{
				hostOnlyRemoved,
				"smap_auth_token=signed; Path=/; Domain=smap.example; Max-Age=" + tc.maxAge + "; HttpOnly; Secure; SameSite=Lax",
			}, response.Header["Set-Cookie"])
		})
	}
}

// The two lines that remove the cookie, as a browser tells them apart.
const (
	hostOnlyRemoved = "smap_auth_token=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
	removed         = "smap_auth_token=; Path=/; Domain=smap.example; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
)

func TestLogout(t *testing.T) {
	t.Parallel()

	t.Run("removes both forms of the cookie, whatever it is worth", func(t *testing.T) {
		t.Parallel()
		for name, cookies := range map[string][]string{
			"good": {"good"}, "expired": {"expired"}, "none": nil, "empty": {""}, "two": {"stale", "good"}, "gone": {"gone"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a := &accounts{}
				r := httptest.NewRequest(http.MethodPost, "/authentication/logout", nil)
				for _, cookie := range cookies {
					withCookie(r, cookie)
				}
				response := serve(a, r)
				requireAnswer(t, response, http.StatusOK, success)
				require.Equal(t, "Logout", a.called)
				require.Equal(t, []string{hostOnlyRemoved, removed}, response.Header["Set-Cookie"])
			})
		}
	})

	t.Run("removes the only form there is without a domain", func(t *testing.T) {
		t.Parallel()
		onHost := options
		onHost.Domain = ""
		response := serveWith(onHost, &accounts{}, httptest.NewRequest(http.MethodPost, "/authentication/logout", nil))
		requireAnswer(t, response, http.StatusOK, success)
		require.Equal(t, []string{hostOnlyRemoved}, response.Header["Set-Cookie"])
	})
}

func TestMe(t *testing.T) {
	t.Parallel()
	const answer = `{"error_code":0,"message":"Success","data":{"id":"` + userID + `","email":"an@example.com","full_name":"Nguyễn An"}}`
	me := func() *http.Request { return httptest.NewRequest(http.MethodGet, "/authentication/me", nil) }

	t.Run("returns the user", func(t *testing.T) {
		t.Parallel()
		response := serve(&accounts{}, withCookie(me(), "good"))
		requireAnswer(t, response, http.StatusOK, answer)
		require.Empty(t, response.Header["Set-Cookie"])
	})

	t.Run("removes the host-only form when two users are logged in", func(t *testing.T) {
		t.Parallel()
		response := serve(&accounts{}, withCookie(withCookie(me(), "good"), "other"))
		requireAnswer(t, response, http.StatusOK, answer)
		require.Equal(t, []string{hostOnlyRemoved}, response.Header["Set-Cookie"])

		r := withCookie(me(), "good")
		r.Header.Set("Authorization", "Bearer other")
		require.Empty(t, serve(&accounts{}, r).Header["Set-Cookie"], "there is one cookie only")

		onHost := options
		onHost.Domain = ""
		response = serveWith(onHost, &accounts{}, withCookie(withCookie(me(), "good"), "other"))
		require.Empty(t, response.Header["Set-Cookie"], "it is the only form there is")
	})

	t.Run("refuses a user who is gone", func(t *testing.T) {
		t.Parallel()
		response := serve(&accounts{}, withCookie(me(), "gone"))
		requireAnswer(t, response, http.StatusUnauthorized, `{"error_code":401,"message":"Please log in"}`)
	})
}

func TestRequests(t *testing.T) {
	t.Parallel()

	t.Run("never reach the use case when they are bad", func(t *testing.T) {
		t.Parallel()
		const start = `{"error_code":20001,"message":"The request is not valid","errors":`
		const notVerbatim = `{"body":"is not UTF-8, or escapes half of a surrogate pair"}`
		for name, tc := range map[string]struct{ path, body, errors string }{
			"register: empty":           {"register", ``, `{"body":"is not one JSON object"}`},
			"register: Latin-1":         {"register", "{\"email\":\"u8@example.com\",\"password\":\"p\xe4ssword1\"}", notVerbatim},
			"register: half a pair":     {"register", `{"email":"u8@example.com","password":"\ud800aaaaaaa"}`, notVerbatim},
			"login: Latin-1":            {"login", "{\"email\":\"u8@example.com\",\"password\":\"p\xf6ssword1\"}", notVerbatim},
			"login: half a pair":        {"login", `{"email":"u8@example.com","password":"\udfffaaaaaaa"}`, notVerbatim},
			"register: no JSON":         {"register", `email=an`, `{"body":"is not one JSON object"}`},
			"register: a list":          {"register", `[]`, `{"body":"is not one JSON object"}`},
			"register: two objects":     {"register", `{} {}`, `{"body":"is not one JSON object"}`},
			"register: null":            {"register", `null`, `{"email":"is required","password":"is required"}`},
			"register: nothing in it":   {"register", `{}`, `{"email":"is required","password":"is required"}`},
			"register: wrong type":      {"register", `{"email":1,"password":"x"}`, `{"email":"has the wrong type"}`},
			"send-otp: no password":     {"send-otp", `{"email":"an@example.com"}`, `{"password":"is required"}`},
			"login: no address":         {"login", `{"password":"x"}`, `{"email":"is required"}`},
			"login: remember as text":   {"login", `{"email":"a","password":"x","remember":"yes"}`, `{"remember":"has the wrong type"}`},
			"verify-otp: nothing":       {"verify-otp", `{}`, `{"email":"is required","otp":"must be 6 digits"}`},
			"verify-otp: five digits":   {"verify-otp", `{"email":"a","otp":"12345"}`, `{"otp":"must be 6 digits"}`},
			"verify-otp: seven digits":  {"verify-otp", `{"email":"a","otp":"1234567"}`, `{"otp":"must be 6 digits"}`},
			"verify-otp: letters":       {"verify-otp", `{"email":"a","otp":"12345a"}`, `{"otp":"must be 6 digits"}`},
			"verify-otp: a second line": {"verify-otp", `{"email":"a","otp":"123456\n7"}`, `{"otp":"must be 6 digits"}`},
			"verify-otp: no text": {
				"verify-otp", `{"email":"a","otp":"123456","registration":1}`, `{"registration":"has the wrong type"}`,
			},
			"verify-otp: a number": {"verify-otp", `{"email":"a","otp":123456}`, `{"otp":"has the wrong type"}`},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a := &accounts{}
				response := serve(a, post("/authentication/"+tc.path, tc.body))
				requireAnswer(t, response, http.StatusBadRequest, start+tc.errors+`}`)
				require.Empty(t, a.called)
				require.Empty(t, response.Cookies())
			})
		}
		t.Run("wrong content type", func(t *testing.T) {
			t.Parallel()
			a := &accounts{}
			r := post("/authentication/login", `{"email":"a","password":"x"}`)
			r.Header.Set("Content-Type", "text/plain")
			require.Equal(t, http.StatusUnsupportedMediaType, serve(a, r).StatusCode)
			require.Empty(t, a.called)
		})
		t.Run("too large", func(t *testing.T) {
			t.Parallel()
			a := &accounts{}
			r := post("/authentication/login", `{"email":"a","password":"`+strings.Repeat("x", 64<<10)+`"}`)
			require.Equal(t, http.StatusRequestEntityTooLarge, serve(a, r).StatusCode)
			require.Empty(t, a.called)
		})
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()

	// What the front end decides by, for every error a use case can answer.
	t.Run("have the codes the front end decides by", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			path, body string
			err        error
			status     int
			answer     string
		}{
			"limit": {"register", `{"email":"a","password":"x"}`, authentication.TryAgainIn(90 * time.Second),
				http.StatusTooManyRequests, `{"error_code":20008,"message":"Too many tries; try again in 90 seconds"}`},
			"another browser": {"verify-otp", `{"email":"a","otp":"123456"}`, authentication.ErrOtherBrowser, http.StatusBadRequest,
				`{"error_code":20018,"message":"Use the browser that asked for this code, or log in to get a new one"}`},
			"address": {"register", `{"email":"a","password":"x"}`, authentication.ErrInvalidEmail, http.StatusBadRequest,
				`{"error_code":20011,"message":"This is not a valid e-mail address"}`},
			"password": {"register", `{"email":"a","password":"x"}`, authentication.PasswordRules{}.Check("x", ""), http.StatusBadRequest,
				`{"error_code":20001,"message":"The request is not valid","errors":{"password":"must have at least 8 characters"}}`},
			"busy": {"register", `{"email":"a","password":"x"}`, authentication.ErrBusy, http.StatusServiceUnavailable,
				`{"error_code":503,"message":"The service is busy; please try again in a moment"}`},
			"verified": {"send-otp", `{"email":"a","password":"x"}`, authentication.ErrAlreadyVerified, http.StatusConflict,
				`{"error_code":20006,"message":"This e-mail address is already verified"}`},
			"wrong password": {"login", `{"email":"a","password":"x"}`, authentication.ErrWrongPassword, http.StatusUnauthorized,
				`{"error_code":20004,"message":"Wrong e-mail or password"}`},
			"not verified": {"login", `{"email":"a","password":"x"}`, authentication.ErrNotVerified, http.StatusForbidden,
				`{"error_code":20009,"message":"This e-mail address is not verified yet"}`},
			"wrong code": {"verify-otp", `{"email":"a","otp":"123456"}`, authentication.ErrWrongCode, http.StatusBadRequest,
				`{"error_code":20005,"message":"Wrong code"}`},
			"expired": {"verify-otp", `{"email":"a","otp":"123456"}`, authentication.ErrCodeExpired, http.StatusBadRequest,
				`{"error_code":20007,"message":"This code has expired; request a new one"}`},
			"tries": {"verify-otp", `{"email":"a","otp":"123456"}`, authentication.ErrTooManyTries, http.StatusTooManyRequests,
				`{"error_code":20008,"message":"Too many wrong codes; request a new one"}`},
			"fault of ours": {"login", `{"email":"a","password":"x"}`, errors.New("pq: secret"), http.StatusInternalServerError,
				`{"error_code":500,"message":"Internal server error"}`},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				response := serve(&accounts{err: tc.err}, post("/authentication/"+tc.path, tc.body))
				requireAnswer(t, response, tc.status, tc.answer)
				require.Empty(t, response.Cookies())
				if name == "limit" {
					require.Equal(t, "90", response.Header.Get("Retry-After"))
				}
			})
		}
	})
}
