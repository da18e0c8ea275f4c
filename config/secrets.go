package config

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Secret is a text that does not print: every fmt verb and every encoder gets "[secret]". Convert it to a string to use
// it.
type Secret string

// Key is 32 bytes that do not print. It can be used as a []byte.
type Key []byte

const hidden = "[secret]"

// Format hides the text from fmt, %#v and %x included.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// MarshalText hides the text from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Format hides the bytes from fmt, %#v and %x included.
func (Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// MarshalText hides the bytes from encoders.
func (Key) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Lower limits in bytes. A key of HMAC-SHA256 must not be shorter than its hash (RFC 7518 §3.2).
const (
	minJWTBytes      = 32
	minInternalBytes = 16
)

// Secrets are the keys of the service's own cryptography.
type Secrets struct {
	JWT        Secret // signs access tokens; other services verify with the same
	CodeHMAC   Key    // turns one-time codes into what the database holds
	EventsSeal Key    // AES-256-GCM: seals the bodies of email.* rows in the outbox
	// TrialDigest turns an address into the record that it has had its trial. It is never changed: the records are for
	// ever, and a new key recognises none of them.
	TrialDigest Key
	Internal    Secret // what other services send to /internal routes; empty: these respond 401 to every request
}

// Warnings returns a sentence for each secret that ends or begins in white space, or holds a control character: it is used
// as it is, and what was typed elsewhere will differ. No sentence has a secret in it.
func (cfg Config) Warnings() (found []string) {
	for _, s := range []struct {
		name  string
		value Secret
	}{
		{"JWT_SECRET", cfg.Secrets.JWT},
		{"POSTGRES_PASSWORD", cfg.Postgres.Password},
		{"the password in RABBITMQ_URL", passwordOf(cfg.RabbitMQ.URL)},
		{"the password in RABBITMQ_MANAGEMENT_URL", passwordOf(cfg.RabbitMQ.ManagementURL)},
		{"REDIS_PASSWORD", cfg.Redis.Password},
		{"SMTP_PASSWORD", cfg.SMTP.Password},
	} {
		if !isOneLine(string(s.value)) {
			found = append(found, s.name+" begins or ends in white space, or holds a control character such as a line end: "+
				"it is used as it is; check the file or secret it comes from")
		}
	}
	return found
}

// passwordOf returns the password in a URL, unescaped: one read from a file may have brought its line end as %0A.
func passwordOf(text Secret) Secret {
	u, err := url.Parse(string(text))
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return Secret(password)
}

const makeKey = "make one with: openssl rand -base64 32"

// Validate checks the secrets that are set.
func (s Secrets) Validate() Problems {
	return check(
		rule{
			s.JWT == "" || len(s.JWT) >= minJWTBytes,
			"JWT_SECRET", "is shorter than 32 bytes", "make one with: openssl rand -base64 48",
		},
		rule{len(s.CodeHMAC) == 0 || len(s.CodeHMAC) == keyBytes, "CODE_HMAC_KEY", "has not 32 bytes", makeKey},
		rule{len(s.EventsSeal) == 0 || len(s.EventsSeal) == keyBytes, "EVENTS_SEAL_KEY", "has not 32 bytes", makeKey},
		rule{len(s.TrialDigest) == 0 || len(s.TrialDigest) == keyBytes, "TRIAL_DIGEST_KEY", "has not 32 bytes", makeKey},
		rule{
			s.Internal == "" || len(s.Internal) >= minInternalBytes,
			"INTERNAL_KEY", "is shorter than 16 bytes", "make one with: openssl rand -base64 24",
		},
		rule{
			isOneLine(string(s.Internal)),
			"INTERNAL_KEY", "holds what no HTTP header can carry, such as a line end or a space at an end",
			"check the file or secret it comes from, or make one with: openssl rand -base64 24",
		},
	)
}

func (s Secrets) missing() Problems {
	return check(
		isSet(string(s.JWT), "JWT_SECRET", "set it to at least 32 bytes, the same for all services that verify tokens"),
		isSet(string(s.CodeHMAC), "CODE_HMAC_KEY", makeKey),
		isSet(string(s.EventsSeal), "EVENTS_SEAL_KEY", "set it to the same key in api and consumer; "+makeKey),
		isSet(string(s.TrialDigest), "TRIAL_DIGEST_KEY", "set it to the same key in every api, for ever; "+makeKey),
	)
}

// isOneLine reports whether text has no white space at its ends and no control characters. Only such a text arrives as it
// is in the value of a header (RFC 9110 §5.5).
func isOneLine(text string) bool {
	return text == strings.TrimSpace(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
