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
	aead  cipher.AEAD
	keyID string
}

// NewSealer takes EVENTS_SEAL_KEY: 32 bytes.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("outbox: EVENTS_SEAL_KEY must be 32 bytes, it has %d", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	id, err := hkdf.Key(sha256.New, key, nil, "identity outbox: id of a sealing key", 8)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return &Sealer{aead, hex.EncodeToString(id)}, nil
}

// KeyID returns a digest that identifies the key. It is stored beside what was sealed, and says nothing about the key.
func (s *Sealer) KeyID() string { return s.keyID }

// errSealed is returned for a body that this key does not open.
var errSealed = errors.New("outbox: this row was sealed with another EVENTS_SEAL_KEY")

// Seal encrypts body for the row of the event.
func (s *Sealer) Seal(eventID string, body []byte) []byte {
	return s.aead.Seal(nil, nil, body, []byte(eventID))
}

// Open decrypts what Seal returned for the same event.
func (s *Sealer) Open(eventID string, sealed []byte) ([]byte, error) {
	body, err := s.aead.Open(nil, nil, sealed, []byte(eventID))
	if err != nil {
		return nil, errSealed
	}
	return body, nil
}
