package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// params are the costs of argon2id (RFC 9106).
type params struct {
	memory  uint32 // KiB
	time    uint32 // passes
	threads uint8
}

// current are the costs of every new hash: 19 MiB, two passes, one lane (OWASP Password Storage Cheat Sheet).
var current = params{memory: 19 * 1024, time: 2, threads: 1}

// Sizes of new hashes: RFC 9106 §3.1 recommends 16 bytes of salt, §4 a tag of 32.
const (
	saltBytes = 16
	keyBytes  = 32
)

// Bounds of what a stored hash may ask for: a damaged or planted row must not cost gigabytes or minutes.
const (
	maxMemory  = 128 * 1024 // KiB
	maxTime    = 10
	maxThreads = 8
	minBytes   = 8 // of salt; the key has at least twice that
	maxBytes   = 64
)

var errFormat = errors.New("password: not an argon2id hash this package reads")

func (p params) derive(password string, salt []byte, size int) []byte {
	return argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, uint32(size)) //nolint:gosec // size ≤ maxBytes
}

// phc is a hash in the PHC string format: $argon2id$v=19$m=19456,t=2,p=1$<salt>$<key>.
type phc struct {
	params    params
	salt, key []byte
}

func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.params.memory, h.params.time,
		h.params.threads, base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.key))
}

func (h phc) isCurrent() bool {
	return h.params == current && len(h.salt) == saltBytes && len(h.key) == keyBytes
}

// parsePHC is strict: what String would not write back exactly is refused.
func parsePHC(s string) (phc, error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[1] != "argon2id" {
		return phc{}, errFormat
	}
	var h phc
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &h.params.memory, &h.params.time, &h.params.threads); err != nil {
		return phc{}, errFormat
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(part[4]); err != nil {
		return phc{}, errFormat
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(part[5]); err != nil {
		return phc{}, errFormat
	}
	if h.String() != s || !h.inBounds() {
		return phc{}, errFormat
	}
	return h, nil
}

func (h phc) inBounds() bool {
	p := h.params
	return p.memory >= 8*uint32(p.threads) && p.memory <= maxMemory && // the lower bound is RFC 9106 §3.1's
		p.time >= 1 && p.time <= maxTime && p.threads >= 1 && p.threads <= maxThreads &&
		len(h.salt) >= minBytes && len(h.salt) <= maxBytes && len(h.key) >= 2*minBytes && len(h.key) <= maxBytes
}
