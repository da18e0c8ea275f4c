package config

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readEnv names the usual cause of a strange value: POSIX shells read the file that ENV names, and some images set it.
func readEnv(r *reader) string {
	if strings.Contains(r.text("ENV"), "/") {
		r.wrong("ENV", fmt.Sprintf("is %q, a file for a shell to read at its start", r.text("ENV")),
			"set it to one of production, staging, development, test for this process")
		return ""
	}
	return r.oneOf("ENV", "production", "staging", "development", "test")
}

// Validate checks the collector's URL.
func (s Service) Validate() Problems {
	const variable = "OTEL_EXPORTER_OTLP_ENDPOINT"
	return check(
		rule{
			s.OTLPEndpoint == "" || isServerURL(s.OTLPEndpoint, "http", "https"),
			variable, "is not an HTTP URL", "set it to one like http://collector:4318, or unset it",
		},
		rule{
			!strings.Contains(s.OTLPEndpoint, "@"),
			variable, "has a user, who is not sent to the collector",
			"remove the user; what the collector asks for goes to OTEL_EXPORTER_OTLP_HEADERS",
		},
	)
}

// Validate checks the host to listen on, and that what is not for everyone has a port of its own.
func (h HTTP) Validate() Problems {
	const fix = "set it to a port that nothing else on HOST has, or unset it"
	own := func(other int) bool { return h.InternalPort == nil || *h.InternalPort == 0 || *h.InternalPort != other }
	return check(
		rule{
			isHostAlone(h.Host),
			"HOST", "is not a host", "set it to an address of this machine without port, 0.0.0.0 for all of them",
		},
		rule{own(h.AppPort), "INTERNAL_PORT", "is the same as APP_PORT", fix},
		rule{own(h.ConsumerPort), "INTERNAL_PORT", "is the same as CONSUMER_PORT", fix},
	)
}

// Local reports whether only this machine reaches the servers.
func (h HTTP) Local() bool { return isLoopback(h.Host) }

// tokenPlace is where the token goes in INVITATION_URL.
const tokenPlace = "{token}"

// Validate checks that the URL has a place for the token. Behind the # it is never sent to a server and appears in no
// log.
func (i Invitations) Validate() Problems {
	place := strings.Count(i.URL, tokenPlace) == 1 &&
		isURL(strings.ReplaceAll(i.URL, tokenPlace, "token"), "http", "https")
	return check(rule{
		i.URL == "" || place,
		"INVITATION_URL", "is not an HTTP URL with one {token} in it",
		"set it to one like https://smap.example/accept-invitation#token={token}, or unset it",
	})
}

// readScheduler returns whether the scheduler is on: unless it is set, once nothing of the previous release is left. That
// release had none, so its tables hold years of overdue rows.
func readScheduler(r *reader) bool {
	if r.text("SUBSCRIPTION_SCHEDULER") == "" {
		return r.role == Standalone || r.role.uses("SUBSCRIPTION_SCHEDULER") && r.text("EVENTS_MIGRATION_PHASE") == "complete"
	}
	return r.oneOf("SUBSCRIPTION_SCHEDULER", "on", "off") == "on"
}

// Local reports whether only this machine reaches the console.
func (c Console) Local() bool {
	host, _, err := net.SplitHostPort(c.Addr)
	return err == nil && isLoopback(host)
}

// Validate checks where the console is, and that strangers need a token.
func (c Console) Validate(token Secret) Problems {
	_, port, err := net.SplitHostPort(c.Addr)
	number, wrong := strconv.Atoi(port)
	isName := func(host string) bool { return isHostAlone(host) && !strings.Contains(host, "*") }
	return check(
		rule{
			c.Addr == "" || err == nil && wrong == nil && 0 <= number && number <= maxPort,
			"CONSOLE_ADDR", "is not an address with a port", "set it to one like 127.0.0.1:8090, or unset it",
		},
		rule{
			c.Addr == "" || c.Local() || token != "",
			"CONSOLE_TOKEN", "is not set although CONSOLE_ADDR lets other machines in",
			makeInternal + ", or set CONSOLE_ADDR to 127.0.0.1 with a port",
		},
		rule{
			!slices.ContainsFunc(c.Hosts, func(host string) bool { return !isName(host) }),
			"CONSOLE_HOSTS", "has what is no host name", "set it to names without scheme and port, separated by commas, or unset it",
		},
	)
}

// Validate checks that there is a folder.
func (e Embedded) Validate() Problems {
	return check(isSet(e.DataDir, "DATA_DIR", "set it to the folder that holds the data"))
}

func readWorkers(r *reader, prefix string) Workers {
	return Workers{
		Count:    r.integer(prefix+"_WORKERS", 1, 1000),
		Prefetch: r.integer(prefix+"_PREFETCH", 1, 65535), // 16 bits in AMQP's basic.qos
	}
}

func (w Workers) validate(prefix string) Problems {
	return check(rule{
		w.Prefetch >= w.Count,
		prefix + "_PREFETCH", "is less than " + prefix + "_WORKERS",
		"raise it, or lower the workers: some would never have anything to do",
	})
}

// Cookie is the login cookie (docs/compatibility.md).
type Cookie struct {
	Name           string
	Domain         string // empty: the host that set it, and no other
	Secure         bool
	SameSite       http.SameSite
	MaxAge         time.Duration // whole seconds; the token in it lives as long
	MaxAgeRemember time.Duration // the same for a login with "remember"
}

var sameSite = map[string]http.SameSite{
	"lax":    http.SameSiteLaxMode,
	"strict": http.SameSiteStrictMode,
	"none":   http.SameSiteNoneMode,
}

// longestCookie is what browsers keep a cookie for at most (RFC 6265bis §5.5).
const longestCookie = 400 * 24 * time.Hour

func readCookie(r *reader) Cookie {
	return Cookie{
		Name:           r.text("COOKIE_NAME"),
		Domain:         r.text("COOKIE_DOMAIN"),
		Secure:         r.boolean("COOKIE_SECURE"),
		SameSite:       sameSite[r.oneOf("COOKIE_SAMESITE", "lax", "strict", "none")],
		MaxAge:         r.seconds("COOKIE_MAX_AGE", time.Minute, longestCookie),
		MaxAgeRemember: r.seconds("COOKIE_MAX_AGE_REMEMBER", time.Minute, longestCookie),
	}
}

// Validate checks what browsers would silently refuse.
func (k Cookie) Validate() Problems {
	return check(
		rule{
			(&http.Cookie{Name: k.Name}).Valid() == nil,
			"COOKIE_NAME", "is not a cookie name", "use letters, digits, - and _ only",
		},
		rule{
			(&http.Cookie{Name: "x", Domain: k.Domain}).Valid() == nil,
			"COOKIE_DOMAIN", "is not a domain", "set it to one like smap.example, without scheme and port, or unset it",
		},
		rule{
			k.SameSite != http.SameSiteNoneMode || k.Secure,
			"COOKIE_SAMESITE", "is none although COOKIE_SECURE is false",
			"set COOKIE_SECURE=true: browsers refuse the pair",
		},
	)
}
