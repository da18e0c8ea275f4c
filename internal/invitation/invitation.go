// Package invitation owns bulk invitations: an administrator's list of addresses becomes a batch of invitations, each
// with a token that is mailed in its turn and can be accepted once.
//
// A batch, its invitations, the accounts made for them and the events that mail them are in one commit. To other
// services a batch is a project whose items are its invitations. The package does not own accounts: it asks for them
// through ports that another domain fills. It does not promise when a mail arrives, nor that the progress of a batch is
// current: progress follows the commit, and can be counted again from the database at any time.
package invitation

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

const (
	// Lifetime of an invitation counts from the moment its mail may leave: one that had to wait its turn is no shorter.
	Lifetime = 7 * 24 * time.Hour
	// MaxInvitations is how many addresses one upload may have.
	MaxInvitations = 100_000
	// MaxUploadBytes is how large one upload may be.
	MaxUploadBytes = 16 << 20
	// MaxAddressBytes is how much of a rejected address is shown: as much as an address can have (RFC 5321).
	MaxAddressBytes = 254

	tokenBytes = 32
)

// Invitation lets the owner of one address set a password and log in. The token itself is never stored, only its keyed
// digest.
type Invitation struct {
	ID          string // uuid
	BatchID     string
	UserID      string // of the account that was created with it
	EventID     string // of its mail; also the item's id in the batch's progress
	Digest      []byte
	CreatedAt   time.Time
	ExpiresAt   time.Time
	AcceptedAt  time.Time // zero: not accepted
	CancelledAt time.Time // zero: not cancelled
}

// TokenKeys are CODE_HMAC_KEY and those accepted beside it: what is stored is made with the first, and found by each. They
// live outside the database, so that a stolen table gives no token away.
type TokenKeys [][]byte

// NewToken returns a token of 256 random bits that can stand in a URL as it is, and what is stored of it.
func (k TokenKeys) NewToken() (token string, digest []byte) {
	raw := make([]byte, tokenBytes)
	_, _ = rand.Read(raw) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(raw), tokenDigest(k[0], raw)
}

// Digests returns what may be stored of a token, one digest for each key. It returns [ErrInvalid] for a text that cannot be one of ours, which is not
// worth a query.
func (k TokenKeys) Digests(token string) ([][]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != tokenBytes || base64.RawURLEncoding.EncodeToString(raw) != token {
		return nil, ErrInvalid
	}
	digests := make([][]byte, len(k))
	for i, key := range k {
		digests[i] = tokenDigest(key, raw)
	}
	return digests, nil
}

func tokenDigest(key, raw []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("invitation\x00"))
	mac.Write(raw)
	return mac.Sum(nil)
}

// Usable returns nil while i can be accepted, else [ErrUsed], [ErrInvalid] when it was cancelled, or [ErrExpired].
func (i *Invitation) Usable(now time.Time) error {
	switch {
	case !i.AcceptedAt.IsZero():
		return ErrUsed
	case !i.CancelledAt.IsZero():
		return ErrInvalid
	case !now.Before(i.ExpiresAt):
		return ErrExpired
	}
	return nil
}

// Accept spends i. Its errors are those of Usable.
func (i *Invitation) Accept(now time.Time) error {
	if err := i.Usable(now); err != nil {
		return err
	}
	i.AcceptedAt = now
	return nil
}

// Ended reports whether the mail of i is known to need no more work, and whether it failed. known says that the mail
// ledger has an outcome, sent what that is. An accepted invitation has arrived, whatever the ledger says.
func (i *Invitation) Ended(sent, known bool) (ended, failed bool) {
	switch {
	case !i.AcceptedAt.IsZero(), known && sent:
		return true, false
	case known, !i.CancelledAt.IsZero():
		return true, true
	}
	return false, false
}
