package http

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// TokenChecker is what Authenticate needs of authentication.TokenIssuer.
type TokenChecker interface {
	Check(token string) (authentication.Claims, error)
	CheckExpired(token string) (authentication.Claims, error)
}

// Authentication is what requests are authenticated with. All fields are required.
type Authentication struct {
	Tokens     TokenChecker
	Identifier authentication.Identifier
	Cookie     CookieOptions
	// Mixed is called for a request with valid tokens of different users: of the one it counts as, and of another.
	Mixed func(ctx context.Context, userID, other string)
	// LogoutFailed is called when a login could not be ended on the server. Its cookie is gone all the same.
	LogoutFailed func(ctx context.Context, err error)
}

const (
	callerKey = "authentication.caller"
	// maxTokens is how many tokens of one request are looked up: a browser has two.
	maxTokens = 8
	// logoutTime bounds what a logout waits for.
	logoutTime = 5 * time.Second
)

// presented is a token that came along with a request.
type presented struct {
	authentication.Claims
	value  string
	cookie bool
}

// caller is who makes a request, as the database knows them.
type caller struct {
	authentication.Identity
	token presented
	// mixed reports whether the request has a valid cookie of another user as well.
	mixed bool
}

// Authenticate sets the request's principal to the user of its first valid token, and refuses a request without one with
// ErrUnauthenticated. Tokens come from the cookies and, after them, from `Authorization: Bearer`: a bad one never hides
// a good one behind it. The user and the role are those of the database now, which is asked once per request.
func Authenticate(a Authentication) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := a.identify(c); err != nil {
				return err
			}
			return next(c)
		}
	}
}

// identify records who makes the request, or returns ErrUnauthenticated.
func (a Authentication) identify(c echo.Context) error {
	r := c.Request()
	tokens := a.presented(r, a.Tokens.Check)
	found, err := a.first(r.Context(), tokens)
	if err != nil {
		return err
	}
	ofAnother := func(t presented) bool { return t.UserID != found.User.ID }
	if i := slices.IndexFunc(tokens, ofAnother); i >= 0 {
		a.Mixed(r.Context(), found.User.ID, tokens[i].UserID)
	}
	found.mixed = slices.ContainsFunc(tokens, func(t presented) bool { return t.cookie && ofAnother(t) })
	record(c, found)
	return nil
}

func record(c echo.Context, found caller) {
	c.Set(callerKey, found)
	httpserver.SetPrincipal(c, httpserver.Principal{
		Subject: found.User.ID,
		Name:    found.User.Email,
		Role:    string(found.User.Role),
	})
}

// first returns whom the first of the tokens identifies. One look-up is the rule: another is made only when what a valid
// token stands for has ended and the next token stands for something else.
func (a Authentication) first(ctx context.Context, tokens []presented) (caller, error) {
	for _, t := range distinct(tokens) {
		identity, err := a.Identifier.Identify(ctx, t.Claims)
		if !errors.Is(err, authentication.ErrUnauthenticated) {
			return caller{Identity: identity, token: t}, err
		}
	}
	return caller{}, authentication.ErrUnauthenticated
}

// distinct returns the first token of each session, 8 at most. One without a session stands for itself.
func distinct(tokens []presented) (first []presented) {
	seen := map[[2]string]bool{}
	for _, t := range tokens {
		of := [2]string{t.SessionID, ""}
		if t.SessionID == "" {
			of[1] = t.UserID + t.ID
		}
		if !seen[of] && len(first) < maxTokens {
			seen[of] = true
			first = append(first, t)
		}
	}
	return first
}

// presented returns the tokens that check accepts: those of cookies, in their order, and then those in Authorization.
func (a Authentication) presented(
	r *http.Request, check func(token string) (authentication.Claims, error),
) (accepted []presented) {
	add := func(token string, cookie bool) {
		if claims, err := check(token); err == nil {
			accepted = append(accepted, presented{claims, token, cookie})
		}
	}
	for _, cookie := range r.CookiesNamed(a.Cookie.Name) {
		add(cookie.Value, true)
	}
	for _, header := range r.Header.Values(echo.HeaderAuthorization) {
		scheme, token, _ := strings.Cut(header, " ")
		if strings.EqualFold(scheme, "Bearer") {
			add(strings.TrimSpace(token), false)
		}
	}
	return accepted
}

// signed returns what a request brings along of tokens that bear our signature, expired ones included.
func (a Authentication) signed(r *http.Request, bearers bool) (claims []authentication.Claims) {
	tokens := a.presented(r, a.Tokens.CheckExpired)
	if !bearers {
		tokens = slices.DeleteFunc(tokens, func(t presented) bool { return !t.cookie })
	}
	for _, t := range distinct(tokens) {
		claims = append(claims, t.Claims)
	}
	return claims
}

// Still reports whether the caller of a request that goes on for long is still logged in: not once the token has expired,
// its session has ended, or the user has another role than when the request came. It reports true when it cannot tell.
func (a Authentication) Still(ctx context.Context, c echo.Context) bool {
	found, err := callerOf(c)
	if err != nil {
		return false
	}
	claims, err := a.Tokens.Check(found.token.value)
	if err != nil {
		return false
	}
	now, err := a.Identifier.Identify(ctx, claims)
	if err != nil {
		return !errors.Is(err, authentication.ErrUnauthenticated)
	}
	return now.User.Role == found.User.Role
}

// callerOf returns who makes the request. It returns ErrUnauthenticated on a route without Authenticate.
func callerOf(c echo.Context) (caller, error) {
	found, ok := c.Get(callerKey).(caller)
	if !ok {
		return caller{}, authentication.ErrUnauthenticated
	}
	return found, nil
}
