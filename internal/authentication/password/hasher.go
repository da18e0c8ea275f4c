// Package password owns how passwords are turned into hashes and checked: argon2id for new ones, bcrypt to read what
// the previous release stored, and to write what it can read as long as it may come back (docs/adr/0006). At most one
// hash per processor is computed at a time; who waits too long is turned away.
//
// It does not judge passwords, and it does not hide which algorithm made a hash: a bcrypt hash takes a different
// time to check than an argon2id one.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// patience is how long a request waits for a place: about as long as a person does before trying again.
const patience = 5 * time.Second

// maxBcryptCost bounds the time a stored hash may cost, to about a second; the previous release used 10.
const maxBcryptCost = 14

// The previous release's cost, and how much of a password bcrypt looks at.
const (
	previousCost   = 10
	maxBcryptBytes = 72
)

// Options of a Hasher. The zero value is for a service whose previous release does not come back.
type Options struct {
	// ReadableToPrevious makes new hashes that the previous release can read: bcrypt of cost 10. A password of more
	// than 72 bytes becomes argon2id all the same, because bcrypt cannot take it in: whoever sets one cannot log in
	// on the previous release.
	ReadableToPrevious bool
}

// Hasher is an authentication.PasswordHasher. Safe for concurrent use.
type Hasher struct {
	gate    *gate
	options Options
}

// New answers a hasher with one place per processor the program may use. Each place taken needs 19 MiB.
func New(o Options) *Hasher {
	return &Hasher{gate: newGate(runtime.GOMAXPROCS(0), patience), options: o}
}

// Load tells how many hashes are being computed and how many callers wait for a place, for a metric.
func (h *Hasher) Load() (running, waiting int) { return h.gate.load() }

// Hash answers a hash with a salt of its own: argon2id, or what Options say. It answers ErrBusy when no place came free
// within 5 s or before ctx ended. A password of any length counts in full.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	leave, err := h.gate.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	if h.options.ReadableToPrevious && len(password) <= maxBcryptBytes {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), previousCost)
		return string(hash), err
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the program instead
	return phc{params: current, salt: salt, key: current.derive(password, salt, keyBytes)}.String(), nil
}

// Verify tells whether password made hash, and whether the hash should be made anew: every bcrypt hash should, whoever
// made it. A hash that is empty or cannot be read costs as much as one that Hash makes now and is never right. ErrBusy as
// in Hash.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (ok, outdated bool, err error) {
	leave, err := h.gate.enter(ctx)
	if err != nil {
		return false, false, err
	}
	defer leave()
	if isBcrypt(hash) {
		// bcrypt has always judged the first 72 bytes only; comparing, unlike making, accepts longer passwords.
		ok = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
		return ok, ok, nil
	}
	stored, err := parsePHC(hash)
	if err != nil {
		h.spend(password)
		return false, false, nil
	}
	key := stored.params.derive(password, stored.salt, len(stored.key))
	ok = subtle.ConstantTimeCompare(key, stored.key) == 1
	return ok, ok && !stored.isCurrent(), nil
}

// spend takes the time of a check: who is not there must not be told from who is by how long the answer takes.
func (h *Hasher) spend(password string) {
	if h.options.ReadableToPrevious { // then nearly everybody's is bcrypt
		_ = bcrypt.CompareHashAndPassword(nobody(), []byte(password))
		return
	}
	current.derive(password, make([]byte, saltBytes), keyBytes)
}

// nobody is the hash of no password that anybody could type.
var nobody = sync.OnceValue(func() []byte {
	hash, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), previousCost)
	if err != nil {
		panic(err) // only for a password of more than 72 bytes, or a cost out of range
	}
	return hash
})

func isBcrypt(hash string) bool {
	if !strings.HasPrefix(hash, "$2a$") && !strings.HasPrefix(hash, "$2b$") && !strings.HasPrefix(hash, "$2y$") {
		return false
	}
	cost, err := bcrypt.Cost([]byte(hash))
	return err == nil && cost <= maxBcryptCost
}
