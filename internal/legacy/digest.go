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
type Digests struct{ keys [][]byte } // the first stamps, each recognises its own

// NewDigests derives the keys from EVENTS_SEAL_KEY and those accepted beside it, so that sealing and comparing do not share
// one. To a process with another seal key every field differs.
func NewDigests(sealKeys ...[]byte) Digests {
	return Digests{derive(sealKeys, "identity: comparison of fanout and topic copies")}
}

// derive returns a key for one use from each of keys.
func derive(keys [][]byte, use string) [][]byte {
	derived := make([][]byte, len(keys))
	for i, key := range keys {
		derived[i] = digest(key, use)
	}
	return derived
}

// stamp writes the digests of m, the mail of eventID, into headers.
func (d Digests) stamp(headers map[string]string, eventID string, m Mail) {
	for _, field := range compared {
		headers[field.header] = of(d.keys[0], eventID, field.name, field.of(m))
	}
}

// differing names the fields in which m is not the mail whose digests are in headers. A missing digest is a difference.
func (d Digests) differing(headers map[string]string, eventID string, m Mail) (names []string) {
	for i, key := range d.keys {
		var found []string
		for _, field := range compared {
			if !hmac.Equal([]byte(headers[field.header]), []byte(of(key, eventID, field.name, field.of(m)))) {
				found = append(found, field.name)
			}
		}
		if i == 0 || len(found) < len(names) { // to a key that has not stamped them all differ
			names = found
		}
	}
	return names
}

func of(key []byte, eventID, field, value string) string {
	return hex.EncodeToString(digest(key, eventID+"\x00"+field+"\x00"+value))
}

func digest(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
