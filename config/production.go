package config

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"unicode"
)

const (
	productionEnv  = "production"
	developmentEnv = "development"
	previous       = "_PREVIOUS" // ends the name of a second key
)

// publicSecret begins every secret of deployments/compose.yaml, which everybody can read.
const publicSecret = "development-only"

// production returns what ENV=production refuses and other environments take.
func (cfg Config) production() (found Problems) {
	if cfg.Service.Env != productionEnv {
		return nil
	}
	found = check(rule{
		cfg.Cookie.Secure,
		"COOKIE_SECURE", "is false: logins cross the network in clear", "set it to true and serve over HTTPS, " + elsewhere,
	})
	return append(found, cfg.Secrets.weak()...)
}

const elsewhere = "or set ENV=development where nobody else can reach the service"

// public returns a problem for each secret that everybody can read. Only ENV=development takes those.
func (cfg Config) public() (found Problems) {
	if cfg.Service.Env == developmentEnv {
		return nil
	}
	const wrong = "is public: it is one of the compose file's defaults"
	for _, k := range cfg.Secrets.keys() {
		if isPublic(k.value) {
			found = append(found, Problem{k.variable, wrong, k.make})
		}
	}
	for _, s := range cfg.named() {
		if isPublic([]byte(s.value)) {
			found = append(found, Problem{s.variable, wrong, "change it on the server and set it here, " + elsewhere})
		}
	}
	return found
}

// weak returns a problem for each key that others can guess. Of two that are equal it names the second.
func (s Secrets) weak() (found Problems) {
	keys := slices.DeleteFunc(s.keys(), func(k key) bool { return len(k.value) == 0 })
	for i, k := range keys {
		same := slices.IndexFunc(keys[:i], func(other key) bool { return isSame(other.value, k.value) })
		switch {
		case slices.ContainsFunc(forms(k.value), isRepeated):
			found = append(found, Problem{k.variable, "is one byte, repeated", k.make})
		case same >= 0:
			fix := k.make
			if k.variable == keys[same].variable+previous {
				fix = "set it to the key before or the one to come, or unset it"
			}
			found = append(found, Problem{k.variable, "is the same as " + keys[same].variable, fix})
		}
	}
	return found
}

// endsInSpace returns a problem for each secret that production does not take as it was set. It is not for generated
// ones, which may end in any byte.
func (cfg Config) endsInSpace() (found Problems) {
	if cfg.Service.Env != productionEnv {
		return nil
	}
	for _, s := range cfg.named() {
		if strings.TrimRightFunc(string(s.value), unicode.IsSpace) == string(s.value) {
			continue
		}
		wrong := "ends in white space, such as a line end"
		if s.part != "" {
			wrong = "has a password that " + wrong
		}
		found = append(found, Problem{s.variable, wrong,
			"remove it where the secret comes from, or set ALLOW_SECRET_WHITESPACE=true if it belongs to it"})
	}
	return found
}

// forms returns the key as it is and, where it is base64, decoded: one text may be set as both.
func forms(value []byte) [][]byte {
	value = bytes.TrimSpace(value)
	decoded, err := base64.StdEncoding.AppendDecode(nil, value)
	if err != nil || len(decoded) == 0 {
		return [][]byte{value}
	}
	return [][]byte{value, decoded}
}

func isPublic(value []byte) bool {
	return slices.ContainsFunc(forms(value), func(f []byte) bool { return bytes.HasPrefix(f, []byte(publicSecret)) })
}

func isRepeated(value []byte) bool {
	return len(value) > 0 && bytes.Count(value, value[:1]) == len(value)
}

func isSame(a, b []byte) bool {
	return slices.ContainsFunc(forms(a), func(one []byte) bool {
		return slices.ContainsFunc(forms(b), func(other []byte) bool { return bytes.Equal(one, other) })
	})
}

// isOtherMachine reports whether an entry of POSTGRES_HOST is reached over a network.
func isOtherMachine(entry string) bool {
	host, _, _ := hostPort(entry, maxPort)
	return !isLoopback(host) && !strings.HasPrefix(host, "/")
}

// Risks returns a sentence for each setting that is taken as it is although it opens a door.
func (cfg Config) Risks() (found []string) {
	if cfg.Cookie.SameSite == sameSite["none"] && len(cfg.HTTP.Origins) == 0 {
		found = append(found, "COOKIE_SAMESITE is none although CORS_ORIGINS is not set: browsers send logins along with what "+
			"any site asks for; set CORS_ORIGINS to the front end's origin, or COOKIE_SAMESITE to lax")
	}
	if cfg.Postgres.SSLMode == "disable" && slices.ContainsFunc(splitHosts(cfg.Postgres.Host), isOtherMachine) {
		found = append(found, "POSTGRES_SSLMODE is disable although POSTGRES_HOST is another machine: the password and all data "+
			"cross the network in clear; set it to verify-full, or to require where there is no certificate to check")
	}
	return found
}
