package notification

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
)

// RecipientKey turns addresses into what the ledger knows them by. Without the key, which is not in the database, nobody
// can tell to whom an entry's mail went.
type RecipientKey []byte

// NewRecipientKey derives a key from CODE_HMAC_KEY, so that codes and recipients do not share one.
func NewRecipientKey(codeKey []byte) RecipientKey {
	return mac(codeKey, "identity: recipients in the mail ledger")
}

// Digest returns the HMAC-SHA256 of an address, whatever the case of its letters.
func (k RecipientKey) Digest(address string) []byte {
	return mac(k, strings.ToLower(strings.TrimSpace(address)))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
