package legacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// compared are the fields that must be the same in the mails of both copies.
var compared = []struct {
	name, header string // header of a stamped copy: the field's digest in hexadecimal
	of           func(Mail) string
}{
	{"subject", "x-legacy-subject-hmac", func(m Mail) string { return m.Subject }},
	{"recipient", "x-legacy-recipient-hmac", func(m Mail) string { return m.Recipient }},
	{"body", "x-legacy-body-hmac", func(m Mail) string { return m.Body }},
}

// Digests are keyed digests (HMAC-SHA256) of a mail's fields, by which two mails are compared. Without the key they
// reveal nothing, not even whether two events went to one address: the event id is part of each.
type Digests struct{ key []byte }

// NewDigests derives the key from EVENTS_SEAL_KEY, so that sealing and comparing do not share one. To a process with
// another seal key every field differs.
func NewDigests(sealKey []byte) Digests {
	return Digests{digest(sealKey, "identity: comparison of fanout and topic copies")}
}

// stamp writes the digests of m, the mail of eventID, into headers.
func (d Digests) stamp(headers map[string]string, eventID string, m Mail) {
	for _, field := range compared {
		headers[field.header] = d.of(eventID, field.name, field.of(m))
	}
}

// differing names the fields in which m is not the mail whose digests are in headers. A missing digest is a difference.
func (d Digests) differing(headers map[string]string, eventID string, m Mail) []string {
	var names []string
	for _, field := range compared {
		if !hmac.Equal([]byte(headers[field.header]), []byte(d.of(eventID, field.name, field.of(m)))) {
			names = append(names, field.name)
		}
	}
	return names
}

func (d Digests) of(eventID, field, value string) string {
	return hex.EncodeToString(digest(d.key, eventID+"\x00"+field+"\x00"+value))
}

func digest(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
