package authentication

import (
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Role is what a user may do. Stored as the previous release stores it, in users.role_hash.
type Role string

// The roles, as they appear in tokens.
const (
	RoleUser  Role = "USER"
	RoleAdmin Role = "ADMIN"
)

// User is a person with an address. Active means that the address is proven.
type User struct {
	ID           string // uuid
	Email        string // as it is stored, in the column username; compared whatever the case of letters
	FullName     string // empty when not given
	AvatarURL    string // empty when not given
	Locale       string // the language they were first written to in, en or vi; empty when unknown
	PasswordHash string
	Role         Role
	Active       bool
	// DisabledAt is when an administrator took the account out of use. Zero: it is in use.
	DisabledAt time.Time
	// TokensValidAfter is when the tokens that had been issued until then ended: with a new password, or role. Zero: never.
	TokensValidAfter time.Time
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

// Invited reports whether nobody has used u yet: its address was written down by an administrator, and has neither been
// proven nor got a password.
func (u *User) Invited() bool { return !u.Active && !u.Disabled() && u.PasswordHash == "" }

// Disabled reports whether an administrator has taken the account out of use.
func (u *User) Disabled() bool { return !u.DisabledAt.IsZero() }

// Admitted reports whether u can log in, and whether what they have opened counts. It is what decides everywhere about an
// account in use; Active alone says only that the address is proven.
func (u *User) Admitted() bool { return u.Active && !u.Disabled() }

// ParseEmail returns a new address in the form in which it is stored: trimmed, in the case of letters it was typed in, by
// which pods of the previous release look it up. It accepts a plain ASCII addr-spec (RFC 5322) within the lengths of RFC
// 5321 §4.5.3.1 (local part 64, whole 254 bytes) whose domain has a dot; display names, comments, line breaks and lists are
// refused with [ErrInvalidEmail].
func ParseEmail(s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) > 254 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", ErrInvalidEmail
	}
	parsed, err := mail.ParseAddress(s)
	if err != nil || parsed.Address != s {
		return "", ErrInvalidEmail
	}
	at := strings.LastIndexByte(s, '@')
	domain := s[at+1:]
	if at > 64 || !strings.Contains(domain, ".") || strings.HasPrefix(domain, "[") {
		return "", ErrInvalidEmail
	}
	return s, nil
}

// TypedEmail returns what a user is looked up by: the address they typed, trimmed. The previous release stored addresses
// that [ParseEmail] refuses, so it refuses with [ErrInvalidEmail] only what no address can be: text without an @, with
// control characters, or that is not UTF-8.
func TypedEmail(s string) (string, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "@") || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", ErrInvalidEmail
	}
	return s, nil
}
