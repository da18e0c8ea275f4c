package httpserver

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

const app = "https://app.smap.example"

// edgeBench serves what a page may ask for, below a prefix, and trusts one proxy.
func edgeBench(o Origins) bench {
	b := newBench(Options{
		Prefix:    "/identity",
		Origins:   o,
		Proxies:   Proxies{netip.MustParsePrefix("10.0.0.0/8")},
		BodyLimit: 8,
	})
	ok := func(c echo.Context) error { return Success(c, http.StatusOK, nil) }
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		b.Add(method, "/things/:id", ok)
	}
	b.GET("/fails", fails(errBody))
	b.GET("/panics", func(echo.Context) error { panic("at once") })
	b.GET("/stream", func(c echo.Context) error {
		events, err := OpenEvents(c, EventOptions{Retry: time.Second})
		if err != nil {
			return err
		}
		return events.Send("progress", "", 1)
	})
	return b
}

// request returns a request with pairs of header name and value; several of one name are several values.
func request(method, path string, header ...string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestCORS(t *testing.T) {
	t.Parallel()
	listed := Origins{Listed: []string{app, "http://10.1.2.3:3000"}}

	t.Run("lets pages of listed origins read every response", func(t *testing.T) {
		t.Parallel()
		b := edgeBench(listed)
		for path, status := range map[string]int{
			"/things/1": 200, "/identity/things/1": 200, "/fails": 400, "/nowhere": 404, "/identity/nowhere": 404, "/stream": 200,
			"/panics": 500,
		} {
			w := b.do(request(http.MethodGet, path, "Origin", app))
			require.Equal(t, status, w.Code, path)
			require.Equal(t, []string{app}, w.Header()["Access-Control-Allow-Origin"], path)
			require.Equal(t, []string{"true"}, w.Header()["Access-Control-Allow-Credentials"], path)
			require.Equal(t, "X-Request-Id,Retry-After", w.Header().Get("Access-Control-Expose-Headers"), path)
			require.Equal(t, []string{"Origin"}, w.Header()["Vary"], path)
		}
		tooLarge := httptest.NewRequest(http.MethodPost, "/things/1", http.NoBody)
		tooLarge.ContentLength = 9
		tooLarge.Header.Set("Origin", app)
		w := b.do(tooLarge)
		require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
		require.Equal(t, app, w.Header().Get("Access-Control-Allow-Origin"))
	})

	t.Run("responds to the preflight of every route", func(t *testing.T) {
		t.Parallel()
		b := edgeBench(listed)
		for _, path := range []string{"/things/1", "/identity/things/1", "/stream", "/nowhere", "/identity/nowhere"} {
			w := b.do(request(http.MethodOptions, path, "Origin", app,
				"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "lang, idempotency-key"))
			require.Equal(t, http.StatusNoContent, w.Code, path)
			h := w.Header()
			require.Equal(t, app, h.Get("Access-Control-Allow-Origin"), path)
			require.Equal(t, "true", h.Get("Access-Control-Allow-Credentials"), path)
			require.Equal(t, "GET,POST,PUT,PATCH,DELETE,OPTIONS,HEAD", h.Get("Access-Control-Allow-Methods"), path)
			require.Equal(t, "Origin,Content-Type,Content-Length,Accept-Encoding,X-CSRF-Token,Authorization,Accept,"+
				"X-Requested-With,lang,Idempotency-Key", h.Get("Access-Control-Allow-Headers"), path)
			require.Equal(t, "86400", h.Get("Access-Control-Max-Age"), path)
			require.Contains(t, h["Vary"], "Origin", path)
			require.Empty(t, w.Body.String(), path)
		}
	})

	t.Run("says nothing to any other origin, or to none", func(t *testing.T) {
		t.Parallel()
		b := edgeBench(listed)
		for _, origins := range [][]string{
			nil, {"Origin", "https://evil.test"}, {"Origin", "null"}, {"Origin", "*"}, {"Origin", ""},
			{"Origin", "http://app.smap.example"}, {"Origin", app + ":8443"}, {"Origin", app + "/"}, {"Origin", app + ".evil.test"},
			{"Origin", "https://evil.app.smap.example"}, {"Origin", "HTTPS://APP.SMAP.EXAMPLE"},
			{"Origin", app, "Origin", "https://evil.test"}, {"Origin", app, "Origin", app}, {"Origin", app + ", " + app},
			{"Origin", "http://localhost:3000"}, {"Origin", "https://appxsmap.example"},
		} {
			for _, method := range []string{http.MethodGet, http.MethodOptions} {
				w := b.do(request(method, "/things/1", origins...))
				require.Less(t, w.Code, 300, "%q", origins)
				for name := range w.Header() {
					require.NotContains(t, name, "Access-Control", "%q", origins)
				}
				require.Equal(t, []string{"Origin"}, w.Header()["Vary"])
			}
		}
	})

	t.Run("lets nobody in while no origin is listed", func(t *testing.T) {
		t.Parallel()
		w := edgeBench(Origins{}).do(request(http.MethodGet, "/things/1", "Origin", "http://localhost:3000"))
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		require.Equal(t, "Origin", w.Header().Get("Vary"))
	})

	t.Run("lets pages of this machine in during development", func(t *testing.T) {
		t.Parallel()
		local := edgeBench(Origins{Local: true})
		for origin, want := range map[string]bool{
			"http://localhost": true, "http://localhost:3000": true, "http://127.0.0.1:5173": true, "http://127.0.0.1": true,
			"https://localhost:3000": false, "http://localhost.evil.test": false, "http://localhost:3000.evil.test": false,
			"http://127.0.0.1.evil.test": false, "http://127x0.0.1": false, "http://127.0.0.2": false, "http://localhost:*": false,
			"http://user@localhost": false, "http://localhost:": false, "http://localhost:3000/": false, "null": false, "": false,
		} {
			w := local.do(request(http.MethodGet, "/things/1", "Origin", origin))
			require.Equal(t, want, w.Header().Get("Access-Control-Allow-Origin") == origin && origin != "", origin)
		}
	})
}

func TestCrossSite(t *testing.T) {
	t.Parallel()
	const cookie, site, forwarded, proto = "smap_auth_token=x", "Sec-Fetch-Site", "X-Forwarded-Host", "X-Forwarded-Proto"
	proxy, other := "10.0.0.1:1234", "192.0.2.1:1234"
	tests := map[string]struct {
		header []string
		peer   string
		tls    bool
		pass   bool
	}{
		"no page at all": {pass: true},
		"no page, with what a page sends in Referer": {header: []string{"Referer", "https://evil.test/"}, pass: true},
		"same origin":            {header: []string{site, "same-origin", "Origin", "https://behind.a.proxy"}, pass: true},
		"the address bar":        {header: []string{site, "none"}, pass: true},
		"listed":                 {header: []string{site, "same-site", "Origin", app}, pass: true},
		"listed, another site":   {header: []string{site, "cross-site", "Origin", app}, pass: true},
		"another site":           {header: []string{site, "cross-site", "Origin", "https://evil.test"}},
		"a sibling":              {header: []string{site, "same-site", "Origin", "https://blog.smap.example"}},
		"no origin":              {header: []string{site, "same-site"}},
		"no origin, cross-site":  {header: []string{site, "cross-site"}},
		"a sandbox":              {header: []string{site, "cross-site", "Origin", "null"}},
		"a word of tomorrow":     {header: []string{site, "near-site", "Origin", "https://evil.test"}},
		"in capitals":            {header: []string{site, "Same-Origin", "Origin", "https://evil.test"}},
		"an empty word":          {header: []string{site, "", "Origin", "https://evil.test"}},
		"two words":              {header: []string{site, "same-origin", site, "cross-site"}},
		"two words in one":       {header: []string{site, "same-origin, cross-site"}},
		"two origins, one of it": {header: []string{site, "cross-site", "Origin", app, "Origin", "https://evil.test"}},
		"its own name is no reason where the browser knows": {header: []string{site, "same-site", "Origin", "http://api.smap.example"}},

		"old browser, same origin":        {header: []string{"Origin", "http://api.smap.example"}, pass: true},
		"old browser, TLS ends before us": {header: []string{"Origin", "https://api.smap.example"}, pass: true},
		"old browser, encrypted":          {header: []string{"Origin", "https://api.smap.example"}, tls: true, pass: true},
		"old browser, page in clear":      {header: []string{"Origin", "http://api.smap.example"}, tls: true},
		"old browser, another port":       {header: []string{"Origin", "http://api.smap.example:81"}},
		"old browser, listed":             {header: []string{"Origin", app}, pass: true},
		"old browser, another site":       {header: []string{"Origin", "https://evil.test"}},
		"old browser, a sibling":          {header: []string{"Origin", "https://blog.smap.example"}},
		"old browser, a sandbox":          {header: []string{"Origin", "null"}},
		"old browser, empty":              {header: []string{"Origin", ""}},
		"old browser, not a URL":          {header: []string{"Origin", "://"}},
		"old browser, two": {
			header: []string{"Origin", "http://api.smap.example", "Origin", "https://evil.test"},
		},

		"a proxy says the host": {
			header: []string{"Origin", "https://id.smap.example", forwarded, "id.smap.example"}, peer: proxy, pass: true,
		},
		"a proxy says host and scheme": {
			header: []string{"Origin", "https://id.smap.example", forwarded, "id.smap.example", proto, "https"}, peer: proxy, pass: true,
		},
		"a proxy says another scheme": {
			header: []string{"Origin", "http://id.smap.example", forwarded, "id.smap.example", proto, "https"}, peer: proxy,
		},
		"TLS ends in front of the last proxy": {
			header: []string{"Origin", "https://id.smap.example", forwarded, "id.smap.example", proto, "http"}, peer: proxy, pass: true,
		},
		"a proxy keeps the host and says the scheme": {
			header: []string{"Origin", "http://api.smap.example", proto, "https"}, peer: proxy,
		},
		"a proxy says nothing, and the page is a sandbox": {header: []string{"Origin", "null"}, peer: proxy},
		"a proxy says two hosts": {
			header: []string{"Origin", "https://id.smap.example", forwarded, "id.smap.example", forwarded, "x"}, peer: proxy,
		},
		"a stranger says the host": {
			header: []string{"Origin", "https://id.smap.example", forwarded, "id.smap.example"}, peer: other,
		},
		"a stranger says the scheme": {
			header: []string{"Origin", "http://api.smap.example", proto, "https"}, peer: other, pass: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := edgeBench(Origins{Listed: []string{app}})
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
				for _, path := range []string{"/things/1", "/identity/things/1", "http://api.smap.example/things/1"} {
					for _, with := range [][]string{{"Cookie", cookie}, {"Cookie", cookie, "Authorization", "Bearer x"}, nil} {
						r := request(method, path, append(with, tt.header...)...)
						r.Host = "api.smap.example"
						if tt.peer != "" {
							r.RemoteAddr = tt.peer
						}
						if tt.tls {
							r.TLS = &tls.ConnectionState{}
						}
						w := b.do(r)
						if tt.pass {
							require.Equal(t, http.StatusOK, w.Code)
							continue
						}
						require.Equal(t, http.StatusForbidden, w.Code)
						require.JSONEq(t, `{"error_code":403,"message":"Pages of this origin may not do that: it is not one of CORS_ORIGINS"}`,
							w.Body.String())
					}
				}
			}
			for _, method := range []string{http.MethodGet, http.MethodOptions} {
				require.Less(t, b.do(request(method, "/things/1", append(tt.header, "Cookie", cookie)...)).Code, 300, "safe")
			}
		})
	}

	t.Run("judges nothing that proves itself without a cookie", func(t *testing.T) {
		t.Parallel()
		b := edgeBench(Origins{})
		for status, headers := range map[int][][]string{
			http.StatusOK:        {{"Authorization", "Bearer x"}, {"Authorization", "bearer x"}, {"X-Internal-Key", "x"}},
			http.StatusForbidden: {{"Authorization", "Basic x"}, {"X-Internal-Key", ""}, {"X-Internal-Key", "x", "Cookie", "a=b"}},
		} {
			for _, header := range headers {
				header = append(header, site, "cross-site", "Origin", "https://evil.test")
				require.Equal(t, status, b.do(request(http.MethodPost, "/things/1", header...)).Code, "%q", header)
			}
		}
	})

	t.Run("refuses routes that do not exist", func(t *testing.T) {
		t.Parallel()
		w := edgeBench(Origins{}).do(request(http.MethodPost, "/nowhere", site, "cross-site"))
		require.Equal(t, http.StatusForbidden, w.Code)
	})
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	tests := map[string]struct {
		proxies   Proxies
		peer      string
		forwarded []string
		want      string
	}{
		"no proxy is trusted":             {nil, "10.0.0.1:1", []string{"198.51.100.7"}, "10.0.0.1"},
		"not even on this machine":        {nil, "127.0.0.1:1", []string{"198.51.100.7"}, "127.0.0.1"},
		"a proxy names its client":        {proxies, "10.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		"a proxy of IPv6":                 {proxies, "[2001:db8::1]:1", []string{"198.51.100.7"}, "198.51.100.7"},
		"two proxies in a row":            {proxies, "10.0.0.1:1", []string{"198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		"a client names another":          {proxies, "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"in a header of its own":          {proxies, "10.0.0.1:1", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7"},
		"a private client is a client":    {proxies, "10.0.0.1:1", []string{"192.168.1.5"}, "192.168.1.5"},
		"a stranger names another":        {proxies, "192.168.1.1:1", []string{"198.51.100.7"}, "192.168.1.1"},
		"what is no address says nothing": {proxies, "10.0.0.1:1", []string{"not an address"}, "10.0.0.1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(Options{Proxies: tt.proxies})
			b.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, c.RealIP()) })
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tt.peer
			r.Header["X-Forwarded-For"] = tt.forwarded
			require.Equal(t, tt.want, b.do(r).Body.String())
			require.Equal(t, tt.want, b.line(t)["remote_ip"])
		})
	}
}
