package http

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/httpserver"
)

// Access decides who enters the console, and what they may do there.
type Access struct {
	// Token is what operators type. Where it is empty, all who reach the server are operators.
	Token    string
	Hosts    httpserver.Hosts
	ReadOnly bool
}

const (
	// sessionLife is how long an operator stays logged in.
	sessionLife = 12 * time.Hour
	// loginsPerMinute is how often an address may try a token.
	loginsPerMinute = 10
)

var (
	errHost = echo.NewHTTPError(http.StatusForbidden,
		"This host name may be a stranger's. Use 127.0.0.1 or localhost, or add the name to CONSOLE_HOSTS.")
	errSite  = echo.NewHTTPError(http.StatusForbidden, "A page of another site has asked for that, and only this console may.")
	errClear = echo.NewHTTPError(http.StatusForbidden, "The token would cross the network in clear. Reach the console through "+
		"HTTPS, by a proxy that sets X-Forwarded-Proto, or on 127.0.0.1, by a port-forward or a tunnel.")
	errToken    = echo.NewHTTPError(http.StatusUnauthorized, "That is not the token. It is the CONSOLE_TOKEN of the consumer.")
	errReadOnly = echo.NewHTTPError(http.StatusForbidden, "The console only shows: CONSOLE_READONLY is set.")
	errForm     = echo.NewHTTPError(http.StatusForbidden, "The form is of an older page or login. Load the page again.")
)

// access makes and checks what browsers keep of a login. All of it follows from the token: consumers with the same one take
// each other's, and with another token nothing of it is good any more.
type access struct {
	Access
	key []byte
	now func() time.Time
}

func newAccess(a Access, now func() time.Time) *access {
	seed := []byte(a.Token)
	if len(seed) == 0 {
		seed = []byte(rand.Text()) // good for this process
	}
	return &access{a, mac(seed, "operations console"), now}
}

func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return h.Sum(nil)
}

// seal returns text with what proves that this console has made it for a use.
func (a *access) seal(use, text string) string {
	return text + "." + base64.RawURLEncoding.EncodeToString(mac(a.key, use, text))
}

// open returns what was sealed, and false for anything else.
func (a *access) open(use, sealed string) (text string, ok bool) {
	i := strings.LastIndexByte(sealed, '.')
	if i < 0 || subtle.ConstantTimeCompare([]byte(a.seal(use, sealed[:i])), []byte(sealed)) != 1 {
		return "", false
	}
	return sealed[:i], true
}

// isToken takes the same time for every wrong token.
func (a *access) isToken(typed string) bool {
	want, have := sha256.Sum256([]byte(a.Token)), sha256.Sum256([]byte(typed))
	return subtle.ConstantTimeCompare(want[:], have[:]) == 1
}

// newSession returns what the cookie of a login holds: when it ends, and a random number that makes it one of its own.
func (a *access) newSession() string {
	return a.seal("session", strconv.FormatInt(a.now().Add(sessionLife).Unix(), 10)+"-"+rand.Text())
}

// session returns the login of a request; where no token is needed it is the same for all.
func (a *access) session(c echo.Context) (session string, ok bool) {
	if a.Token == "" {
		return "", true
	}
	cookie, err := c.Cookie(cookieName(c.Request(), "session"))
	if err != nil {
		return "", false
	}
	session, ok = a.open("session", cookie.Value)
	end, _, _ := strings.Cut(session, "-")
	seconds, err := strconv.ParseInt(end, 10, 64)
	return session, ok && err == nil && a.now().Unix() < seconds
}

// formKey is what the forms of a login carry, which pages of other origins cannot read.
func (a *access) formKey(session string) string {
	return base64.RawURLEncoding.EncodeToString(mac(a.key, "form", session))
}

// onLoopback reports whether the browser is on this machine, or takes a tunnel for it.
func onLoopback(r *http.Request) bool {
	host := strings.ToLower(httpserver.HostName(r.Host))
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isPrivate reports whether nobody on the way can read what the browser sends. A proxy that says so wrongly deceives its own
// users only.
func isPrivate(r *http.Request) bool {
	return onLoopback(r) || r.TLS != nil || r.Header.Get(echo.HeaderXForwardedProto) == "https"
}

// cookieName returns the name of a cookie. On loopback every port has its own, since browsers send cookies to all ports.
func cookieName(r *http.Request, use string) string {
	if !onLoopback(r) {
		return "__Host-identity_console_" + use
	}
	_, port, _ := net.SplitHostPort(r.Host)
	return "identity_console_" + use + port
}

// setCookie keeps value in the browser. An empty one is removed.
func setCookie(c echo.Context, use, value string, life time.Duration) {
	seconds := int(life / time.Second)
	if value == "" {
		seconds = -1
	}
	c.SetCookie(&http.Cookie{
		Name:     cookieName(c.Request(), use),
		Value:    value,
		Path:     "/",
		MaxAge:   seconds,
		Secure:   !onLoopback(c.Request()),
		HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	})
}

// guard refuses requests to names that may be a stranger's, and those of other sites' pages.
func (a *access) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		switch {
		case !a.Hosts.Allow(r.Host):
			return errHost
		case httpserver.FromElsewhere(r):
			return errSite
		}
		return next(c)
	}
}

// isOwnPath reports whether path leads to a page of this server: nothing else may follow a login or a change.
func isOwnPath(path string) bool {
	u, err := url.Parse(path)
	return err == nil && !u.IsAbs() && u.Host == "" && strings.HasPrefix(path, "/") && !strings.ContainsAny(path, "\\\t\r\n") &&
		!strings.HasPrefix(path, "//")
}
