package mailer

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxAddress bounds a line to the server. RFC 5321 §4.5.3.1 has 254 octets, 64 of them before the @, but whether a longer
// address exists is for its server to say.
const maxAddress = 255

// checkAddress accepts exactly one bare address. Everything that could be read as more – a display name, a comment, quotes,
// a second address, a line break – is refused, so that the envelope and the header can never disagree. What RFC 5321 would
// have quoted, as the dots in "a..b@example.com", is accepted: such addresses exist, and only their server knows which.
//
// Non-ASCII is refused as well: a mail to such an address needs SMTPUTF8 (RFC 6531) on every hop, and one hop
// without it bounces the mail after it was accepted. Internationalised domains work in their xn-- form.
//
// The errors do not quote the address.
func checkAddress(address string) error {
	if address == "" {
		return errors.New("the address is empty")
	}
	if len(address) > maxAddress {
		return errors.New("the address is too long for a line of SMTP")
	}
	for _, c := range []byte(address) {
		if c <= ' ' || c > '~' {
			return errors.New("the address has a space, a control or a non-ASCII character")
		}
	}
	local, domain, _ := strings.Cut(address, "@")
	if local == "" || domain == "" || strings.ContainsAny(local+domain, `@<>(),;:\"`) {
		return errors.New("the address is not one bare address")
	}
	return nil
}

// maxHeaderText keeps a text without spaces, which cannot be folded, within a line of 998 octets (RFC 5322 §2.1.1).
const maxHeaderText = 900

// checkHeaderText guards header values that may be any Unicode text but only one line of it.
func checkHeaderText(text string) error {
	if len(text) > maxHeaderText {
		return errors.New("the text is too long for a line of a header")
	}
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
