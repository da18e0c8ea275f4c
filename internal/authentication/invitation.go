package authentication

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// Rules of an invitation.
const (
	// InvitationLifetime counts from the moment its mail may leave: one that had to wait its turn is no shorter.
	InvitationLifetime = 7 * 24 * time.Hour
	// MaxInvitations is how many addresses one upload may have.
	MaxInvitations = 100_000
	// MaxUploadBytes is how large one upload may be.
	MaxUploadBytes = 16 << 20
	// MaxAddressBytes is how much of a rejected address is shown: as much as an address can have (RFC 5321).
	MaxAddressBytes = 254

	invitationTokenBytes = 32
)

// Invitation lets one person in whose address an administrator has written down: whoever has its token owns the address,
// and sets the password. The token itself is never stored, only its keyed digest.
type Invitation struct {
	ID          string // uuid
	BatchID     string
	UserID      string // the user who was created with it
	EventID     string // of its mail; also the item's id in the batch's progress
	Digest      []byte
	CreatedAt   time.Time
	ExpiresAt   time.Time
	AcceptedAt  time.Time // zero: not accepted
	CancelledAt time.Time // zero: not cancelled
}

// NewInvitationToken answers a token of 256 bits from the system's CSPRNG that can stand in a URL as it is.
func NewInvitationToken() string {
	token := make([]byte, invitationTokenBytes)
	_, _ = rand.Read(token) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(token)
}

// InvitationDigest answers what is stored of an invitation's token, and ErrInvitationInvalid for what cannot be one:
// such a thing is not worth a look into the database.
func (k CodeKey) InvitationDigest(token string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != invitationTokenBytes {
		return nil, ErrInvitationInvalid
	}
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte("invitation\x00"))
	mac.Write(raw)
	return mac.Sum(nil), nil
}

// Usable answers nil while i can be accepted, else ErrInvitationUsed, ErrInvitationInvalid when it was cancelled, or
// ErrInvitationExpired.
func (i *Invitation) Usable(now time.Time) error {
	switch {
	case !i.AcceptedAt.IsZero():
		return ErrInvitationUsed
	case !i.CancelledAt.IsZero():
		return ErrInvitationInvalid
	case !now.Before(i.ExpiresAt):
		return ErrInvitationExpired
	}
	return nil
}

// Accept spends i. It answers what Usable does.
func (i *Invitation) Accept(now time.Time) error {
	if err := i.Usable(now); err != nil {
		return err
	}
	i.AcceptedAt = now
	return nil
}

// Ended tells whether the work of i's mail is known to be over, and whether in vain. sent is what the ledger says of it,
// known whether it says anything. One that was accepted has arrived, whatever else is known of it.
func (i *Invitation) Ended(sent, known bool) (ended, failed bool) {
	switch {
	case !i.AcceptedAt.IsZero(), known && sent:
		return true, false
	case known, !i.CancelledAt.IsZero():
		return true, true
	}
	return false, false
}
