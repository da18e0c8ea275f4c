package httpserver

import (
	"cmp"
	"net"
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
func (p Proxies) trust(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && slices.ContainsFunc(p, func(prefix netip.Prefix) bool {
		return prefix.Contains(peer.Addr().Unmap().WithZone(""))
	})
}

// clientAddress returns the extractor of the client's address: the nearest one in X-Forwarded-For that is no proxy's.
func (p Proxies) clientAddress() echo.IPExtractor {
	if len(p) == 0 {
		return echo.ExtractIPDirect()
	}
	trusted := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, prefix := range p {
		trusted = append(trusted, echo.TrustIPRange(&net.IPNet{
			IP:   prefix.Masked().Addr().AsSlice(),
			Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(trusted...)
}
