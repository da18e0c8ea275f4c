package httpserver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/verbatim"
)

// What a client writes into X-Forwarded-For never decides who it is, unless a proxy has sent it on.
func FuzzClientAddress(f *testing.F) {
	for _, seed := range [][2]string{
		{"10.0.0.1:443", "192.0.2.7"}, {"10.0.0.1:443", "192.0.2.7, 10.0.0.2"}, {"192.0.2.1:1234", "10.0.0.9"}, {"[::ffff:10.0.0.1]:1", "::ffff:192.0.2.7"},
		{"10.0.0.1:443", "unknown, 192.0.2.7:80"}, {"10.0.0.1:443", "[2001:db8::1]:80,[2001:db8::2]"}, {"10.0.0.1:443", "fe80::1%eth0, 10.0.0.1"},
		{"[fe80::1%lo]:1", "192.0.2.7"}, {"@", "192.0.2.7"}, {"10.0.0.1:443", ",,,"}, {"10.0.0.1:443", "10.0.0.1\x00"}, {"10.0.0.1:443", "[192.0.2.7"},
		{"10.0.0.1:443", "for=192.0.2.7"}, {"10.0.0.1:443", "010.0.0.1, 0x0a.0.0.1, 167772161"},
	} {
		f.Add(seed[0], seed[1])
	}
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{}}
		sender := peer(r)
		alone := proxies.clientAddress(r)
		r.Header.Set(echo.HeaderXForwardedFor, forwarded)
		found := proxies.clientAddress(r)
		if !sender.IsValid() {
			require.Empty(t, alone)
			require.Empty(t, found)
			return
		}
		require.Equal(t, sender.String(), alone)
		address, err := netip.ParseAddr(found)
		require.NoError(t, err)
		require.Equal(t, address.Unmap().WithZone(""), address, "an address has one spelling")
		if !proxies.trust(r) {
			require.Equal(t, alone, found, "a stranger's header decides")
		}
		r.Header[echo.HeaderXForwardedFor] = []string{"10.9.9.9, 203.0.113.9, " + forwarded, "192.0.2.200"}
		want := map[bool]string{true: "192.0.2.200", false: alone}[proxies.trust(r)]
		require.Equal(t, want, proxies.clientAddress(r), "the nearest proxy's word counts, whatever the client has put before it")
	})
}

func FuzzOrigin(f *testing.F) {
	for _, origin := range []string{
		app, "https://evil.test", "null", "", app + ", " + app, app + ".evil.test", "https://app.smap.example@evil.test", "https://id.smap.example",
		"http://localhost:3000", "http://localhost:3000\n", "http://127.0.0.1.evil.test", "//id.smap.example", "https://id.smap.example/\\evil.test",
	} {
		f.Add(origin, "", "evil.test", "https")
		f.Add(origin, "same-site", "", "")
		f.Add(origin, "same-origin", "", "http")
	}
	const host = "id.smap.example"
	f.Fuzz(func(t *testing.T, origin, site, forwardedHost, forwardedProto string) {
		x := crossSite{Origins{Listed: []string{app}}, Proxies{netip.MustParsePrefix("10.0.0.0/8")}}
		local := Origins{Local: true}
		if local.allowed(origin) {
			u, err := url.Parse(origin)
			require.NoError(t, err)
			require.Contains(t, []string{"localhost", "127.0.0.1"}, u.Hostname())
			require.Equal(t, "http://"+u.Host, origin)
		}
		require.Equal(t, origin == app, x.origins.allowed(origin))

		passes := func(header http.Header) bool {
			r := &http.Request{Method: http.MethodPost, Host: host, RemoteAddr: "192.0.2.1:1234", Header: header, URL: &url.URL{Path: "/"}}
			next := func(echo.Context) error { return nil }
			return x.middleware(next)(echo.New().NewContext(r, httptest.NewRecorder())) == nil
		}
		header := http.Header{echo.HeaderOrigin: {origin}}
		if site != "" {
			header.Set("Sec-Fetch-Site", site)
		}
		before := passes(header)
		header.Set("X-Forwarded-Host", forwardedHost)
		header.Set(echo.HeaderXForwardedProto, forwardedProto)
		header.Set("Referer", "https://"+host+"/")
		require.Equal(t, before, passes(header), "a stranger's header decides")
		if !before || origin == app || site == "same-origin" || site == "none" {
			return
		}
		require.Empty(t, site, "the browser says that it is a page of another site")
		u, err := url.Parse(origin)
		require.NoError(t, err)
		require.Equal(t, host, u.Host)
	})
}

func FuzzLocale(f *testing.F) {
	for _, seed := range [][2]string{
		{"vi", ""}, {"en", "vi"}, {"ja", "vi-VN,vi;q=0.9,en;q=0.8"}, {"\"<>", "vi"}, {"", ";;;q=,"}, {"", "*"}, {"VI", "en;q=0.5, vi;q=NaN"},
		{"x-vi", "und"}, {"", strings.Repeat("vi-", 300)}, {"i-klingon", "art-lojban"}, {"vi-t-en", "en-u-ca-buddhist"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, lang, accept string) {
		locale := func(lang, accept string) string {
			return Locale(&http.Request{Header: http.Header{"Lang": {lang}, "Accept-Language": {accept}}})
		}
		require.Contains(t, locales, locale(lang, accept))
		require.Contains(t, locales, locale("", lang))
		for _, known := range locales {
			require.Equal(t, known, locale(known, accept), "the front end decides")
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"page=3&limit=20", "page=-1&limit=0", "page=9223372036854775807&limit=9223372036854775807", "page=99999999999999999999", "limit=1e3&page=+2",
		"ids=01890a5d-ac96-774b-bcce-b302099a8057&ids[]=x", "ids=urn:uuid:01890A5D-AC96-774B-BCCE-B302099A8057", "ids=%00", "ids=%ff", "ids=,,%20,", "%zz",
		"ids={01890a5d-ac96-774b-bcce-b302099a8057}", "ids=" + strings.Repeat("a,", 101), "page=1;limit=5",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := &http.Request{URL: &url.URL{Path: "/", RawQuery: query}}
		c := echo.New().NewContext(r, httptest.NewRecorder())
		page := PageOf(c)
		require.True(t, page.Number >= 1 && page.Limit >= 1 && page.Limit <= maxPageLimit, "%+v", page)
		require.GreaterOrEqual(t, page.Offset(), 0)
		require.Less(t, page.Offset(), 1<<38)
		described := page.Paginator(1000, page.Limit)
		require.Equal(t, described.HasNext, page.Offset()+page.Limit < 1000)

		values, err := Values(c, "ids", errBody)
		if err != nil {
			require.ErrorIs(t, err, errBody)
			require.Empty(t, values)
		}
		require.LessOrEqual(t, len(values), maxListValues)
		require.False(t, slices.ContainsFunc(values, unstorable))
		require.NotContains(t, values, "")
		ids, err := IDs(c, "ids", errBody)
		if err != nil {
			require.ErrorIs(t, err, errBody)
			return
		}
		require.Len(t, ids, len(values))
		for _, id := range ids {
			parsed, err := uuid.Parse(id)
			require.NoError(t, err)
			require.Equal(t, parsed.String(), id, "an id has one spelling")
		}
	})
}

func FuzzBind(f *testing.F) {
	for _, seed := range []string{
		`{"email":"an@x.vn","remember":true}`, `{"email":"a","email":"b"}`, `{"EMAIL":"a"}`, `{"email":"a","admin":true}`, `{"email":1}`, `null`, `[]`,
		`{"email":"a"}{"email":"b"}`, `{"email":"a"} x`, `{"email":"\ud800"}`, "{\"email\":\"\xff\"}", "\ufeff{}", `{"nested":{"email":"a","x":1}}`,
		`{"\u0065mail":"a"}`, `{"email":null}`, `{"ema\u0131l":"a"}`, `{"` + strings.Repeat("x", 100) + `":1}`, `{"":1}`, `{"nested":[]}`, "{}\x00",
		`{"remember":"true"}`, `{"nested":` + strings.Repeat(`{"nested":`, 50) + `null` + strings.Repeat(`}`, 51), `{"K":1,"\u212a":2}`,
	} {
		f.Add(seed)
	}
	type request struct {
		Email    string `json:"email"`
		Remember bool   `json:"remember"`
		Nested   *struct {
			Email string `json:"email"`
		} `json:"nested"`
	}
	f.Fuzz(func(t *testing.T, body string) {
		read := func(body string, bind func(echo.Context, any, *apperror.Error) error) (got request, err error) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
			err = bind(echo.New().NewContext(r, httptest.NewRecorder()), &got, errBody)
			return got, err
		}
		got, err := read(body, Bind)
		strict, strictErr := read(body, BindStrict)
		if err != nil {
			require.ErrorIs(t, err, errBody)
			require.ErrorIs(t, strictErr, errBody)
			return
		}
		require.True(t, json.Valid([]byte(body)), "something stands behind the object")
		require.True(t, verbatim.JSON([]byte(body)))
		encoded, err := json.Marshal(got)
		require.NoError(t, err)
		again, err := read(string(encoded), BindStrict)
		require.NoError(t, err)
		require.Equal(t, got, again)

		var sent map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(body), &sent), "it is one object")
		unknown := false
		for name := range sent {
			unknown = unknown || !slices.ContainsFunc([]string{"email", "remember", "nested"}, func(known string) bool { return strings.EqualFold(name, known) })
		}
		if strictErr != nil {
			require.ErrorIs(t, strictErr, errBody)
			return
		}
		require.False(t, unknown, "an unknown field is refused")
		require.Equal(t, got, strict)
	})
}

var wellFormedTrace = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}`)

// A request's own words about itself cannot break its log line, and reach the response only where they are sane.
func FuzzRequest(f *testing.F) {
	const traced = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	f.Add("GET", "/things/1", "req-1", traced, "a=b")
	f.Add("POST", "/identity/things/1", "a\nb", strings.ToUpper(traced), "a=b,,=")
	f.Add("BREW", "/identityx", strings.Repeat("x", 129), traced+"-extra", "")
	f.Add("HEAD", "//things//..%2f", "\x1b[31m", "ff"+traced[2:], strings.Repeat("a=b,", 600))
	f.Add("DELETE", "/things/\x00\xff", "-", "00-"+strings.Repeat("0", 32)+"-00f067aa0ba902b7-01", "\xff")
	f.Add("", "things", "", "01"+traced[2:], "")
	f.Fuzz(func(t *testing.T, method, path, id, traceparent, tracestate string) {
		b := edgeBench(Origins{})
		b.GET("/traced", func(c echo.Context) error {
			if s := trace.SpanContextFromContext(c.Request().Context()); s.IsValid() {
				require.Regexp(t, wellFormedTrace, traceparent)
				require.Equal(t, s.TraceID().String(), traceparent[3:35])
			}
			return nil
		})
		for _, target := range []*http.Request{
			{Method: method, URL: &url.URL{Path: path}, Body: http.NoBody}, {Method: http.MethodGet, URL: &url.URL{Path: "/traced"}, Body: http.NoBody},
		} {
			b.log.Reset()
			target.Header = http.Header{"X-Request-Id": {id}, "Traceparent": {traceparent}, "Tracestate": {tracestate}}
			w := b.do(target)
			if !strings.HasSuffix(path, "/panics") {
				require.Less(t, w.Code, 500)
			}
			require.Regexp(t, saneRequestID, w.Header().Get("X-Request-Id"))
			require.Equal(t, 1, strings.Count(b.log.String(), "\n"))
			require.NotEmpty(t, b.line(t)["route"])
		}
	})
}
