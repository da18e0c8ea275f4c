package httpserver

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

func TestClients(t *testing.T) {
	t.Parallel()
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16")}
	for name, tc := range map[string]struct {
		proxies   Proxies
		peer      string
		forwarded []string
		want      string // empty: not known
	}{
		"a client itself":                     {proxies, "203.0.113.7:1", nil, "203.0.113.7"},
		"a client that claims to be another":  {proxies, "203.0.113.7:1", []string{"198.51.100.1"}, "203.0.113.7"},
		"the client of a proxy":               {proxies, "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		"a private client of a proxy":         {proxies, "10.0.0.1:1", []string{"192.168.1.5"}, "192.168.1.5"},
		"a proxy that does not say":           {proxies, "10.0.0.1:1", nil, ""},
		"a proxy that says nothing of sense":  {proxies, "10.0.0.1:1", []string{"unknown"}, ""},
		"a proxy that names itself":           {proxies, "10.0.0.1:1", []string{"10.0.0.1"}, ""},
		"a client that hides before garbage":  {proxies, "10.0.0.1:1", []string{"x, 192.168.1.5"}, "192.168.1.5"},
		"a client that claims on the left":    {proxies, "10.0.0.1:1", []string{"192.0.2.1, 198.51.100.1"}, "198.51.100.1"},
		"a client that sends a header itself": {proxies, "10.0.0.1:1", []string{"192.0.2.1", "198.51.100.1"}, "198.51.100.1"},
		"a proxy that names the port":         {proxies, "10.0.0.1:1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		"a proxy that writes brackets":        {proxies, "10.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"a proxy behind a proxy":              {proxies, "10.0.0.1:1", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		"an IPv4 client over IPv6":            {nil, "[::ffff:203.0.113.7]:1", nil, "203.0.113.7"},
		"everybody where no proxy is trusted": {nil, "10.0.0.1:1", []string{"198.51.100.1"}, "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(Options{Proxies: tc.proxies})
			var got netip.Addr
			b.GET("/", func(c echo.Context) error {
				got = ClientAddress(c)
				return c.NoContent(http.StatusNoContent)
			})
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tc.peer
			r.Header["X-Forwarded-For"] = tc.forwarded
			b.do(r)
			if tc.want == "" {
				require.False(t, got.IsValid())
				return
			}
			require.Equal(t, tc.want, got.String())
		})
	}
}

func TestPerMinute(t *testing.T) {
	t.Parallel()
	unknown := 0
	b := newBench(Options{Proxies: Proxies{netip.MustParsePrefix("10.0.0.0/8")}, ClientUnknown: func() { unknown++ }})
	b.POST("/", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) }, PerMinute(3))
	post := func(peer string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.RemoteAddr = peer
		return b.do(r)
	}

	t.Run("lets each client make so many requests", func(t *testing.T) {
		for _, client := range []string{"203.0.113.7:1", "203.0.113.8:1", "[2001:db8:1::1]:1", "[2001:db8:1:1::1]:1"} {
			for range 3 {
				require.Equal(t, http.StatusNoContent, post(client).Code)
			}
			refused := post(client)
			require.Equal(t, http.StatusTooManyRequests, refused.Code)
			require.Equal(t, "20", refused.Header().Get("Retry-After"))
			require.JSONEq(t, `{"error_code":429,"message":"Too many requests; try again in 20 seconds"}`, refused.Body.String())
		}
		require.Equal(t, http.StatusTooManyRequests, post("[2001:db8:1::ffff]:1").Code, "the same /64")
	})

	t.Run("does not limit clients without an address, and says so", func(t *testing.T) {
		for range 20 {
			require.Equal(t, http.StatusNoContent, post("10.0.0.1:1").Code)
		}
		require.Equal(t, 20, unknown)
	})
}
