package mailer

import (
	"errors"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of RFC 5321 §4.5.3.1: 64 octets for the local part; 256 for a path, which includes the angle brackets.
const (
	maxLocalPart = 64
	maxAddress   = 254
)

// checkAddress accepts exactly one bare address. Whatever net/mail would have to interpret (a display name, a comment,
// quotes, a second address, a line break) is refused, so that the envelope and the header can never disagree.
//
// Non-ASCII is refused as well: a mail to such an address needs SMTPUTF8 (RFC 6531) on every hop, and one hop
// without it bounces the mail after it was accepted. Internationalised domains work in their xn-- form.
//
// The errors do not quote the address.
func checkAddress(address string) error {
	if address == "" {
		return errors.New("the address is empty")
	}
	if len(address) > maxAddress || strings.LastIndexByte(address, '@') > maxLocalPart {
		return errors.New("the address is longer than RFC 5321 allows")
	}
	for _, c := range []byte(address) {
		if c <= ' ' || c > '~' {
			return errors.New("the address has a space, a control or a non-ASCII character")
		}
	}
	if parsed, err := mail.ParseAddress(address); err != nil || parsed.Name != "" || parsed.Address != address {
		return errors.New("the address is not one bare address")
	}
	return nil
}

// checkHeaderText guards header values that may be any Unicode text but only one line of it.
func checkHeaderText(text string) error {
	if !utf8.ValidString(text) || hasControl(text) {
		return errors.New("the text has a line break, a control character or is not UTF-8")
	}
	return nil
}

// checkMessageID wants id-left "@" id-right (RFC 5322 §3.6.4) and leaves the angle brackets to the builder.
func checkMessageID(id string) error {
	left, right, found := strings.Cut(id, "@")
	if !found || left == "" || right == "" || strings.ContainsAny(right, "@") {
		return errors.New("the message id is not of the form id@domain")
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || strings.IndexByte(`<>()[],;:\"`, c) >= 0 {
			return errors.New("the message id has a character that RFC 5322 does not allow")
		}
	}
	return nil
}

func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }
