package logger

import (
	"strings"
	"unicode"
)

const stars = "***"

// MaskEmail returns an address fit for a log: "ab***@example.com" for "abcdef@example.com". It keeps at most two
// characters of the local part, and never all of it. It keeps the domain only when it looks like one, because anything
// may follow the last @ of a text that is no address.
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

// isDomain reports whether s consists of letters of any script, digits, dots and hyphens, and is no longer than RFC
// 1035 §2.3.4 allows.
func isDomain(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '.' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}
