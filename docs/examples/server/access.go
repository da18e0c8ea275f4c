package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// user is the person who makes a request, as the token names them.
type user struct {
	ID       string // the same for ever; an address may change hands
	Email    string
	Role     string // USER or ADMIN when the token was issued, which was 24 hours ago at most
	IssuedAt time.Time
}

// verifier checks access tokens of the Identity Service.
type verifier struct {
	keys   jwt.VerificationKeySet
	parser *jwt.Parser
}

// newVerifier reads JWT_SECRET and, while that changes, JWT_SECRET_PREVIOUS. Each is the string as it is: it looks like
// Base64 and is not decoded.
func newVerifier() (verifier, error) {
	v := verifier{parser: jwt.NewParser(
		jwt.WithValidMethods([]string{"HS256"}), // or the token would choose
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(30*time.Second), // what the clocks of two machines may differ
	)}
	for _, name := range []string{"JWT_SECRET", "JWT_SECRET_PREVIOUS"} {
		secret := os.Getenv(name)
		if secret == "" && name != "JWT_SECRET" {
			continue
		}
		if len(secret) < 32 { // an empty one would accept what anybody has signed
			return verifier{}, fmt.Errorf("%s needs at least 32 bytes", name)
		}
		v.keys.Keys = append(v.keys.Keys, []byte(secret))
	}
	return v, nil
}

// userOf returns the user of the first good token. A browser may send two cookies of the same name.
func (v verifier) userOf(r *http.Request) (user, error) {
	var tokens []string
	for _, cookie := range r.CookiesNamed("smap_auth_token") {
		tokens = append(tokens, cookie.Value)
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		tokens = append(tokens, bearer)
	}
	err := errors.New("no token")
	for _, token := range tokens {
		var u user
		if u, err = v.check(token); err == nil {
			return u, nil
		}
	}
	return user{}, err
}

func (v verifier) check(token string) (user, error) {
	var claims struct {
		jwt.RegisteredClaims
		Username string `json:"username"`
		Role     string `json:"role"`
		Type     string `json:"type"`
	}
	_, err := v.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return v.keys, nil })
	switch {
	case err != nil:
		return user{}, err
	case claims.Type != "access" || claims.Subject == "" || claims.IssuedAt == nil:
		return user{}, errors.New("not an access token")
	}
	return user{claims.Subject, claims.Username, claims.Role, claims.IssuedAt.Time}, nil
}
