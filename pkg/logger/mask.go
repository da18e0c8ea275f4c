package logger

import (
	"strings"
	"unicode"
)

const stars = "***"

// MaskEmail makes an address fit for a log: "abcdef@example.com" becomes "ab***@example.com". At most two characters of
// the local part are left, and never all of it. The domain is left only when it looks like one, since what follows the
// last @ of a text that is no address may be anything.
func MaskEmail(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return stars
	}
	local, domain := []rune(address[:at]), address[at+1:]
	if !isDomain(domain) {
		domain = stars
	}
	shown := min(2, max(0, len(local)-1))
	return string(local[:shown]) + stars + "@" + domain
}

// isDomain: letters of any script, digits, dots and hyphens, no longer than RFC 1035 §2.3.4 allows.
func isDomain(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '.' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}
