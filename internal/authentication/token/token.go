// Package token owns access tokens: JWT, HS256, with the claims other SMAP services read (docs/compatibility.md). They
// hold the same secret and check tokens by themselves, so the claims are a contract.
//
// It does not revoke: a token lives until it expires, whatever becomes of its user. Who is served for it is decided by
// the user's row ([authentication.Identifier]). There are no refresh tokens, so `refresh` is always false. "Remember me" is a longer life, not another kind of token.
package token

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/authentication"
)

// issuerName is the `iss` of every token. It is not checked, because the previous release wrote none.
const issuerName = "smap-identity"

// leeway is what the clocks of two services may differ.
const leeway = 30 * time.Second

const accessType = "access"

// Options of an Issuer. All are required. Lifetimes count in whole seconds.
type Options struct {
	Secret           []byte // JWT_SECRET; RFC 7518 §3.2 wants at least 32 bytes
	Lifetime         time.Duration
	RememberLifetime time.Duration
	Clock            authentication.Clock
}

// Issuer is an [authentication.TokenIssuer]. It is safe for concurrent use.
type Issuer struct {
	options Options
	parser  *jwt.Parser
}

type claims struct {
	jwt.RegisteredClaims
	Username string `json:"username"`
	Role     string `json:"role"`
	Type     string `json:"type"`
	Refresh  bool   `json:"refresh"`
}

// New returns an [Issuer]. It panics without a clock or a secret: anybody could sign a token with none.
func New(o Options) *Issuer {
	if len(o.Secret) == 0 || o.Clock == nil {
		panic("authentication/token: Options needs a Secret and a Clock")
	}
	return &Issuer{options: o, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), // or the token's own header would choose (RFC 8725 §3.1)
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(o.Clock.Now),
	)}
}

// Issue signs a token that is valid from now on for the lifetime it comes with.
func (i *Issuer) Issue(u authentication.User, remember bool) (authentication.Token, error) {
	lifetime := i.options.Lifetime
	if remember {
		lifetime = i.options.RememberLifetime
	}
	now := i.options.Clock.Now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    issuerName,
			Subject:   u.ID,
			ID:        uuid.NewString(),
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
		},
		Username: u.Email,
		Role:     string(u.Role),
		Type:     accessType,
	}).SignedString(i.options.Secret)
	if err != nil {
		return authentication.Token{}, fmt.Errorf("token: signing: %w", err)
	}
	return authentication.Token{Value: signed, Lifetime: lifetime}, nil
}

// Check returns the claims of a token. It returns ErrUnauthenticated unless it is an unexpired HS256 access token, signed
// with our secret, of a user with a uuid. Its role is not checked: the previous release has users without one, and the
// row decides.
func (i *Issuer) Check(token string) (authentication.Claims, error) {
	var c claims
	_, err := i.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return i.options.Secret, nil })
	if err != nil {
		return authentication.Claims{}, authentication.ErrUnauthenticated.WithCause(err)
	}
	id, err := uuid.Parse(c.Subject)
	if err != nil || c.Type != accessType {
		return authentication.Claims{}, authentication.ErrUnauthenticated
	}
	checked := authentication.Claims{UserID: id.String(), Email: c.Username, Role: authentication.Role(c.Role)}
	if c.IssuedAt != nil {
		checked.IssuedAt = c.IssuedAt.UTC()
	}
	return checked, nil
}
