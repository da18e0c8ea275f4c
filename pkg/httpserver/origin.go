package httpserver

import (
	"cmp"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// Origins are the web origins whose pages may call the service with its users' cookies. The zero value has none.
type Origins struct {
	Listed []string // as browsers write them: scheme://host, and :port where it is not the scheme's own
	Local  bool     // http://localhost and http://127.0.0.1 on any port as well: for development
}

var localOrigin = regexp.MustCompile(`^http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?$`)

// allowed is the one rule for both CORS and the refusal of cross-site requests.
func (o Origins) allowed(origin string) bool {
	return slices.Contains(o.Listed, origin) || o.Local && localOrigin.MatchString(origin)
}

// corsMaxAge is for how many seconds a browser may keep the response to a preflight.
const corsMaxAge = 86400

// cors lets pages of allowed origins read responses, and varies every response by Origin for the caches between.
func (o Origins) cors() echo.MiddlewareFunc {
	set := middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOriginFunc: func(origin string) (bool, error) { return o.allowed(origin), nil },
		AllowMethods: []string{
			http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodHead,
		},
		AllowHeaders: []string{
			"Origin", "Content-Type", "Content-Length", "Accept-Encoding", "X-CSRF-Token", "Authorization", "Accept",
			"X-Requested-With", "lang", "Idempotency-Key",
		},
		AllowCredentials: true,
		ExposeHeaders:    []string{"X-Request-Id", "Retry-After"},
		MaxAge:           corsMaxAge,
	})
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		handle := set(next)
		return func(c echo.Context) error {
			if h := c.Request().Header; len(h[echo.HeaderOrigin]) > 1 {
				h.Set(echo.HeaderOrigin, combined(h, echo.HeaderOrigin)) // several are none of those allowed
			}
			return handle(c)
		}
	}
}

// combined returns all values of a header as the one that they stand for (RFC 9110 §5.3), so that a second value is
// never ignored.
func combined(h http.Header, name string) string { return strings.Join(h.Values(name), ", ") }

// errCrossSite is the refusal of a request that a page of another site has made.
var errCrossSite = echo.NewHTTPError(http.StatusForbidden, "Pages of this origin may not do that: it is not one of CORS_ORIGINS")

// crossSite refuses what pages of other sites do in their visitors' names.
type crossSite struct {
	origins Origins
	proxies Proxies
}

// middleware passes requests that are safe, or that a page of the service's own origin, of an allowed one, or no page has
// made, and responds 403 to every other. One without a cookie is refused as well, because its response may set or clear
// the visitor's: logging them in or out is an attack, too.
func (x crossSite) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if isSafe(r) || x.origins.allowed(combined(r.Header, echo.HeaderOrigin)) || x.sameOrigin(r) || provesItself(r) {
			return next(c)
		}
		return errCrossSite
	}
}

func isSafe(r *http.Request) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.Method)
}

// provesItself reports whether r carries no cookie, and a token or a key, which no browser adds by itself.
func provesItself(r *http.Request) bool {
	scheme, _, _ := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	return r.Header.Get(echo.HeaderCookie) == "" &&
		(strings.EqualFold(scheme, "Bearer") || r.Header.Get(headerInternalKey) != "")
}

// sameOrigin reports whether a page of the service's own origin, or no page, has made r. Sec-Fetch-Site decides where a
// browser sends it; that of a neighbour under the same domain is "same-site". Without it, Origin must name the host
// that was asked for, and be encrypted where the request is known to be. A request with neither header comes from no
// page: browsers send Origin with every unsafe request to another origin. Referer proves nothing, since pages can have
// it left out.
func (x crossSite) sameOrigin(r *http.Request) bool {
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 {
		return len(site) == 1 && (site[0] == "same-origin" || site[0] == "none")
	}
	if len(r.Header[echo.HeaderOrigin]) == 0 {
		return true
	}
	hosts, scheme := []string{r.Host}, ""
	if r.TLS != nil {
		scheme = "https"
	}
	if x.proxies.trust(r) {
		hosts = append(hosts, combined(r.Header, "X-Forwarded-Host"))
		scheme = cmp.Or(combined(r.Header, echo.HeaderXForwardedProto), scheme)
	}
	u, err := url.Parse(combined(r.Header, echo.HeaderOrigin))
	if err != nil || u.Host == "" || !slices.Contains(hosts, u.Host) {
		return false
	}
	return scheme != "https" || u.Scheme == "https" // not the reverse: TLS may end in front of the last proxy
}

// Proxies are the addresses whose word about a client counts. The zero value trusts none.
type Proxies []netip.Prefix

// trust reports whether a proxy has sent r.
func (p Proxies) trust(r *http.Request) bool { return p.contains(peer(r)) }

func (p Proxies) contains(address netip.Addr) bool {
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
}

// peer returns the address that has sent r. It is the zero Addr when r has none.
func peer(r *http.Request) netip.Addr {
	address, _ := parseForwarded(r.RemoteAddr)
	return address
}

// clientAddress returns the client's address: the nearest one in X-Forwarded-For that is no proxy's. Entries beyond one
// that is no address do not count: a client can have put it there so that the proxy's word about it is lost.
func (p Proxies) clientAddress(r *http.Request) string {
	client := peer(r)
	entries := strings.Split(combined(r.Header, echo.HeaderXForwardedFor), ",")
	for _, entry := range slices.Backward(entries) {
		address, ok := parseForwarded(strings.TrimSpace(entry))
		if !ok || !p.contains(client) {
			break
		}
		client = address
	}
	if !client.IsValid() {
		return ""
	}
	return client.String()
}

// parseForwarded returns an address, which some proxies write with a port or in brackets.
func parseForwarded(entry string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(entry); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"))
	return address.Unmap().WithZone(""), err == nil
}
