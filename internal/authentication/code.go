package authentication

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode"
)

// Rules of a one-time code; the limit on tries is the OWASP Authentication Cheat Sheet's.
const (
	CodeLifetime   = 10 * time.Minute
	MaxWrongTries  = 5
	ResendInterval = 60 * time.Second // between two codes that one user asks for
	// ReplaceWithin is how long after a person's request a code whose mail never left is replaced by a fresh one.
	ReplaceWithin = 30 * time.Minute
)

// Purpose is what a code proves.
type Purpose string

// The purposes.
const (
	// PurposeVerification proves that the address belongs to the person who registered it.
	PurposeVerification Purpose = "verification"
	// PurposeReset proves that the person who wants a new password reads the mail of the address.
	PurposeReset Purpose = "password_reset"
)

// Code is the newest one-time code of a [CodeRequest]; another takes its place. The digits themselves are never stored,
// only their keyed digest.
type Code struct {
	Digest     []byte
	EventID    string // the event that carries the digits; a mail of any other event is out of date. Empty: none does
	WrongTries int
	CreatedAt  time.Time // when the person asked for it
	ExpiresAt  time.Time // CodeLifetime later, or more for a code that replaces one whose mail never left
	UsedAt     time.Time // zero: not used
}

// NewDigits returns six decimal digits, each value equally likely, from the system's CSPRNG.
func NewDigits() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(fmt.Sprintf("authentication: the system has no randomness: %v", err)) // crypto/rand never returns on failure since Go 1.24
	}
	return fmt.Sprintf("%06d", n)
}

// CodeKey is CODE_HMAC_KEY: it lives outside the database, so that a stolen table does not reveal codes.
type CodeKey []byte

// Digest returns the HMAC-SHA256 of purpose, request and digits: a digest is of no use in another row.
func (k CodeKey) Digest(purpose Purpose, requestID, digits string) []byte {
	mac := hmac.New(sha256.New, k)
	fmt.Fprintf(mac, "%s\x00%s\x00%s", purpose, requestID, digits)
	return mac.Sum(nil)
}

// CodeKeys are CODE_HMAC_KEY and those accepted beside it. What is stored is made with the first, and found by each.
type CodeKeys [][]byte

// Digest is [CodeKey.Digest] with the first key.
func (k CodeKeys) Digest(purpose Purpose, requestID, digits string) []byte {
	return k.first().Digest(purpose, requestID, digits)
}

func (k CodeKeys) first() CodeKey { return k[0] }

// CanResend reports whether a new code may replace this one.
func (c *Code) CanResend(now time.Time) bool { return now.Sub(c.CreatedAt) >= ResendInterval }

// Dead reports whether too many wrong tries have ended the code.
func (c *Code) Dead() bool { return c.WrongTries >= MaxWrongTries }

// Replaceable reports whether a fresh code may be made in place of this one, which no mail has delivered: only one
// replaces another, for a person who has not asked too long ago.
func (c *Code) Replaceable(now time.Time) bool {
	return c.ExpiresAt.Sub(c.CreatedAt) <= CodeLifetime && now.Sub(c.CreatedAt) < ReplaceWithin
}

// try returns nil and marks the code used when the digits were right, or ErrAlreadyVerified when they have used it before,
// ErrWrongCode, ErrTooManyTries or ErrCodeExpired. It counts nothing.
func (c *Code) try(right bool, now time.Time) error {
	switch {
	case !c.UsedAt.IsZero() && right:
		return ErrAlreadyVerified
	case !c.UsedAt.IsZero():
		return ErrWrongCode
	case c.Dead():
		return ErrTooManyTries
	case !now.Before(c.ExpiresAt):
		return ErrCodeExpired
	case !right:
		return ErrWrongCode
	}
	c.UsedAt = now
	return nil
}

// ParseDigits returns the six digits that a person has typed or pasted: with spaces or hyphens between them, in full
// width or in another script's digits. It returns false for anything else.
func ParseDigits(typed string) (digits string, ok bool) {
	var b strings.Builder
	for _, r := range typed {
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || unicode.Is(unicode.Cf, r):
		case unicode.Is(unicode.Nd, r):
			b.WriteByte('0' + decimal(r))
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == 6
}

// decimal returns the value of a decimal digit. In Unicode the ten of a script follow each other, zero first, and where
// scripts follow each other so do their tens.
func decimal(r rune) (value byte) {
	for ; unicode.Is(unicode.Nd, r-1); r-- {
		value++
	}
	return value % 10
}
