package outbox

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Sealer encrypts bodies that hold codes while they lie in the database: AES-256-GCM, a random nonce in front, the
// row's event id bound in, so that a sealed body cannot be moved to another row.
type Sealer struct {
	keys []sealKey // the first seals, all open
}

type sealKey struct {
	aead cipher.AEAD
	id   string
}

// NewSealer takes EVENTS_SEAL_KEY, and those that are accepted beside it: 32 bytes each.
func NewSealer(key []byte, others ...[]byte) (*Sealer, error) {
	s := &Sealer{}
	for _, raw := range append([][]byte{key}, others...) {
		one, err := newSealKey(raw)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, one)
	}
	return s, nil
}

func newSealKey(key []byte) (none sealKey, err error) {
	if len(key) != 32 {
		return none, fmt.Errorf("outbox: EVENTS_SEAL_KEY must be 32 bytes, it has %d", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return none, fmt.Errorf("outbox: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return none, fmt.Errorf("outbox: %w", err)
	}
	id, err := hkdf.Key(sha256.New, key, nil, "identity outbox: id of a sealing key", 8)
	if err != nil {
		return none, fmt.Errorf("outbox: %w", err)
	}
	return sealKey{aead, hex.EncodeToString(id)}, nil
}

// KeyID returns a digest that identifies the key that seals. It is stored beside what was sealed, and says nothing about
// the key.
func (s *Sealer) KeyID() string { return s.keys[0].id }

// KeyIDs returns those of all keys that open.
func (s *Sealer) KeyIDs() []string {
	ids := make([]string, len(s.keys))
	for i, k := range s.keys {
		ids[i] = k.id
	}
	return ids
}

// errSealed is returned for a body that no key opens.
var errSealed = errors.New("outbox: this row was sealed with another EVENTS_SEAL_KEY")

// Seal encrypts body for the row of the event.
func (s *Sealer) Seal(eventID string, body []byte) []byte {
	return s.keys[0].aead.Seal(nil, nil, body, []byte(eventID))
}

// Open decrypts what Seal returned for the same event.
func (s *Sealer) Open(eventID string, sealed []byte) ([]byte, error) {
	for _, k := range s.keys {
		if body, err := k.aead.Open(nil, nil, sealed, []byte(eventID)); err == nil {
			return body, nil
		}
	}
	return nil, errSealed
}
