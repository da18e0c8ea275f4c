// Package token owns access tokens: JWT, HS256, with the claims other SMAP services read (docs/compatibility.md). They
// hold the same secret and check tokens by themselves, so the claims are a contract.
//
// It does not revoke: whether a token is worth something is decided by the row of its session
// ([authentication.Identifier]). There are no refresh tokens, so `refresh` is always false.
package token

import (
	"fmt"
	"strings"
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

// Options of an Issuer. All are required but Previous.
type Options struct {
	Secret   []byte // JWT_SECRET; RFC 7518 §3.2 wants at least 32 bytes
	Previous []byte // JWT_SECRET_PREVIOUS: another that verifies, and signs nothing
	Clock    authentication.Clock
}

// Issuer is an [authentication.TokenIssuer]. It is safe for concurrent use.
type Issuer struct {
	secret   []byte
	accepted jwt.VerificationKeySet
	clock    authentication.Clock
	// parser refuses an expired token; lenient does not look at times.
	parser, lenient *jwt.Parser
}

type claims struct {
	jwt.RegisteredClaims
	SessionID string `json:"sid,omitempty"`
	Username  string `json:"username"`
	Role      string `json:"role"`
	Type      string `json:"type"`
	Refresh   bool   `json:"refresh"`
}

// New returns an [Issuer]. It panics without a clock or a secret: anybody could sign a token with none.
func New(o Options) *Issuer {
	if len(o.Secret) == 0 || o.Clock == nil {
		panic("authentication/token: Options needs a Secret and a Clock")
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), // or the token's own header would choose (RFC 8725 §3.1)
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithStrictDecoding(), // or the bits to spare in the last character could be anything
		jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(o.Clock.Now),
	}
	accepted := jwt.VerificationKeySet{Keys: []jwt.VerificationKey{o.Secret}}
	if len(o.Previous) > 0 {
		accepted.Keys = append(accepted.Keys, o.Previous)
	}
	return &Issuer{
		secret:   o.Secret,
		accepted: accepted,
		clock:    o.Clock,
		parser:   jwt.NewParser(options...),
		lenient:  jwt.NewParser(append(options, jwt.WithoutClaimsValidation())...),
	}
}

// Issue signs a token of a session.
func (i *Issuer) Issue(
	u authentication.User, sessionID string, issuedAt, expiresAt time.Time,
) (string, error) {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    issuerName,
			Subject:   u.ID,
			ID:        uuid.NewString(),
			IssuedAt:  jwt.NewNumericDate(issuedAt),
			NotBefore: jwt.NewNumericDate(issuedAt),
			ExpiresAt: jwt.NewNumericDate(expiresAt),
		},
		SessionID: sessionID,
		Username:  u.Email,
		Role:      string(u.Role),
		Type:      accessType,
	}).SignedString(i.secret)
	if err != nil {
		return "", fmt.Errorf("token: signing: %w", err)
	}
	return signed, nil
}

// Check returns the claims of a token. It returns ErrUnauthenticated unless it is an unexpired HS256 access token, signed
// with an accepted secret, of a user with a uuid, and of a session with one if it names one. Its role is not checked: the previous
// release has users without one, and the row decides.
func (i *Issuer) Check(token string) (authentication.Claims, error) { return i.check(i.parser, token) }

// CheckExpired is Check that takes a token whose time is over. It must say when it was issued.
func (i *Issuer) CheckExpired(token string) (authentication.Claims, error) {
	c, err := i.check(i.lenient, token)
	if err == nil && (c.IssuedAt.IsZero() || c.IssuedAt.After(i.clock.Now().Add(leeway))) {
		return authentication.Claims{}, authentication.ErrUnauthenticated
	}
	return c, err
}

func (i *Issuer) check(parser *jwt.Parser, token string) (authentication.Claims, error) {
	if strings.ContainsAny(token, "\r\n") { // which base64 skips
		return authentication.Claims{}, authentication.ErrUnauthenticated
	}
	var c claims
	_, err := parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return i.accepted, nil })
	if err != nil {
		return authentication.Claims{}, authentication.ErrUnauthenticated.WithCause(err)
	}
	id, err := uuid.Parse(c.Subject)
	if err != nil || c.Type != accessType || c.ExpiresAt == nil {
		return authentication.Claims{}, authentication.ErrUnauthenticated
	}
	checked := authentication.Claims{
		UserID:    id.String(),
		Email:     c.Username,
		Role:      authentication.Role(c.Role),
		ID:        c.ID,
		Ours:      c.Issuer == issuerName,
		ExpiresAt: c.ExpiresAt.UTC(),
	}
	if c.IssuedAt != nil {
		checked.IssuedAt = c.IssuedAt.UTC()
	}
	if c.SessionID != "" {
		session, err := uuid.Parse(c.SessionID)
		if err != nil {
			return authentication.Claims{}, authentication.ErrUnauthenticated
		}
		checked.SessionID = session.String()
	}
	return checked, nil
}
