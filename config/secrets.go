package config

import (
	"fmt"
	"math"
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
	minConsoleBytes  = 22 // 128 bits in base64
)

// Secrets are the keys of the service's own cryptography. A previous key is one that is accepted as well; it may as well
// be the next one. What is new is made with the other.
type Secrets struct {
	JWT        Secret // signs access tokens; other services verify with the same
	CodeHMAC   Key    // turns one-time codes into what the database holds
	EventsSeal Key    // AES-256-GCM: seals the bodies of email.* rows in the outbox
	// TrialDigest turns an address into the record that it has had its trial. It is never changed: the records are for
	// ever, and a new key recognises none of them.
	TrialDigest Key
	Internal    Secret // what other services send to /internal routes; empty: these respond 401 to every request
	Console     Secret // what operators type to enter the console; empty: all who reach it on loopback may

	JWTPrevious        Secret
	CodeHMACPrevious   Key
	EventsSealPrevious Key
	InternalPrevious   Secret
}

// namedSecret is a secret that is used byte by byte, as it was set.
type namedSecret struct {
	variable string
	part     string // of the variable: "the password in "; empty: all of it
	value    Secret
}

func (cfg Config) named() []namedSecret {
	const password = "the password in "
	return []namedSecret{
		{"JWT_SECRET", "", cfg.Secrets.JWT},
		{"JWT_SECRET_PREVIOUS", "", cfg.Secrets.JWTPrevious},
		{"POSTGRES_PASSWORD", "", cfg.Postgres.Password},
		{"RABBITMQ_URL", password, passwordOf(cfg.RabbitMQ.URL)},
		{"RABBITMQ_MANAGEMENT_URL", password, passwordOf(cfg.RabbitMQ.ManagementURL)},
		{"REDIS_PASSWORD", "", cfg.Redis.Password},
		{"REDIS_SENTINEL_PASSWORD", "", cfg.Redis.SentinelPassword},
		{"SMTP_PASSWORD", "", cfg.SMTP.Password},
	}
}

// Warnings returns a sentence for each secret that ends or begins in white space, or holds a control character: it is used
// as it is, and what was typed elsewhere will differ. No sentence has a secret in it.
func (cfg Config) Warnings() (found []string) {
	for _, s := range cfg.named() {
		if !isOneLine(string(s.value)) {
			found = append(found, s.part+s.variable+" begins or ends in white space, or holds a control character such as a line end: "+
				"it is used as it is; check the file or secret it comes from")
		}
	}
	return found
}

// passwordOf returns the password in a URL, of several the first, unescaped: one read from a file may have brought its
// line end as %0A.
func passwordOf(text Secret) Secret {
	first, _, _ := strings.Cut(string(text), ",")
	u, err := url.Parse(first)
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return Secret(password)
}

// How keys are made.
const (
	makeKey      = "make one with: openssl rand -base64 32"
	makeJWT      = "make one with: openssl rand -base64 48"
	makeInternal = "make one with: openssl rand -base64 24"
)

// Validate checks the secrets that are set.
func (s Secrets) Validate() Problems {
	rules := []rule{{
		s.Internal != "" || s.InternalPrevious == "",
		"INTERNAL_KEY", "is not set although INTERNAL_KEY_PREVIOUS is", "set it, or unset both",
	}}
	for _, k := range s.keys() {
		fits := k.shortest <= len(k.value) && len(k.value) <= k.longest
		rules = append(rules, rule{len(k.value) == 0 || fits, k.variable, k.wrong, k.make})
	}
	header := func(variable string, value Secret) rule {
		return rule{
			isOneLine(string(value)),
			variable, "holds what no HTTP header can carry, such as a line end or a space at an end",
			"check the file or secret it comes from, or " + makeInternal,
		}
	}
	return check(append(rules,
		header("INTERNAL_KEY", s.Internal), header("INTERNAL_KEY_PREVIOUS", s.InternalPrevious),
		rule{
			isOneLine(string(s.Console)),
			"CONSOLE_TOKEN", "holds what cannot be typed, such as a line end or a space at an end",
			"check the file or secret it comes from, or " + makeInternal,
		})...)
}

// key is one of our own keys, and what must hold for it.
type key struct {
	variable          string
	value             []byte
	shortest, longest int
	wrong, make       string
}

func (s Secrets) keys() []key {
	const noKey = "has not 32 bytes"
	secret := func(variable string, value Secret, shortest int, fix string) key {
		return key{variable, []byte(value), shortest, math.MaxInt, fmt.Sprintf("is shorter than %d bytes", shortest), fix}
	}
	binary := func(variable string, value Key) key {
		return key{variable, value, keyBytes, keyBytes, noKey, makeKey}
	}
	return []key{
		secret("JWT_SECRET", s.JWT, minJWTBytes, makeJWT),
		secret("JWT_SECRET_PREVIOUS", s.JWTPrevious, minJWTBytes, makeJWT),
		binary("CODE_HMAC_KEY", s.CodeHMAC),
		binary("CODE_HMAC_KEY_PREVIOUS", s.CodeHMACPrevious),
		binary("EVENTS_SEAL_KEY", s.EventsSeal),
		binary("EVENTS_SEAL_KEY_PREVIOUS", s.EventsSealPrevious),
		binary("TRIAL_DIGEST_KEY", s.TrialDigest),
		secret("INTERNAL_KEY", s.Internal, minInternalBytes, makeInternal),
		secret("INTERNAL_KEY_PREVIOUS", s.InternalPrevious, minInternalBytes, makeInternal),
		secret("CONSOLE_TOKEN", s.Console, minConsoleBytes, makeInternal),
	}
}

func (s Secrets) missing() Problems {
	return check(
		isSet(string(s.JWT), "JWT_SECRET", "set it to at least 32 bytes, the same for all services that verify tokens"),
		isSet(string(s.CodeHMAC), "CODE_HMAC_KEY", makeKey),
		isSet(string(s.EventsSeal), "EVENTS_SEAL_KEY", "set it to the same key in api and consumer; "+makeKey),
		isSet(string(s.TrialDigest), "TRIAL_DIGEST_KEY", "set it to the same key in api and consumer, for ever; "+makeKey),
	)
}

// isOneLine reports whether text has no white space at its ends and no control characters. Only such a text arrives as it
// is in the value of a header (RFC 9110 §5.5).
func isOneLine(text string) bool {
	return text == strings.TrimSpace(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
