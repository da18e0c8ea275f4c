package subscription

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// TrialKey is TRIAL_DIGEST_KEY: it lives outside the database, so that a stolen table does not reveal addresses.
type TrialKey []byte

// Digest returns the HMAC-SHA256 by which an address that has had its trial is recognised, in any case of letters and
// any Unicode form. Nothing else is alike: what a provider ignores in an address is the provider's to know.
func (k TrialKey) Digest(email string) []byte {
	mac := hmac.New(sha256.New, k)
	mac.Write(norm.NFC.AppendString(nil, strings.ToLower(email)))
	return mac.Sum(nil)
}
