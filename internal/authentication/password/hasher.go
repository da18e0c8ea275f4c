// Package password owns how passwords are turned into hashes and checked: argon2id for new ones, and bcrypt to verify
// old ones. At most one hash per processor is computed at a time. The others wait, in turns between the clients, and a
// caller that would wait too long is turned away when it comes.
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
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"
)

// patience is how much work may wait for each place: less than people wait before they try again.
const patience = 3 * time.Second

// maxBcryptBytes is how much of a password bcrypt judges.
const maxBcryptBytes = 72

const (
	previousBcryptCost = 10 // the previous release's
	maxBcryptCost      = 14 // bounds the time a stored hash may cost, to about a second
)

// Hasher is an [authentication.PasswordHasher]. It is safe for concurrent use.
type Hasher struct{ gate *gate }

// New returns a hasher with one place per processor the program may use. Each place taken needs 19 MiB.
func New() *Hasher { return &Hasher{newGate(runtime.GOMAXPROCS(0), patience)} }

// Enter waits for a place to make or check a bcrypt hash of so much cost elsewhere, and returns the function that gives it
// back. It returns ErrBusy, with the time after which to try again, when there is more to do than the places can in time:
// mostly at once, and later when callers of other clients need the room or hashes take much longer than before. It returns
// ErrBusy as well when ctx ends. See [WithClient] for whose turn it is.
func (h *Hasher) Enter(ctx context.Context, bcryptCost int) (leave func(), err error) {
	return h.gate.enter(ctx, bcryptOf(bcryptCost))
}

// Load returns how much there is to do, for metrics.
func (h *Hasher) Load() Load { return h.gate.load() }

// Hash returns an argon2id hash, with a salt of its own, of the password in Unicode's normal form C: the same characters
// are the same password on every keyboard. A password of any length counts in full. ErrBusy as in Enter.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	leave, err := h.gate.enter(ctx, newHash)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the program instead
	key := current.derive(norm.NFC.String(password), salt, keyBytes)
	return phc{params: current, salt: salt, key: key}.String(), nil
}

// Verify reports whether password, as it was typed or in normal form C, made hash, and whether the hash should be made
// anew: every bcrypt hash should, once a password of no more than the 72 bytes that bcrypt judges has been typed. A hash
// that is empty or cannot be read costs as much as one that Hash makes now and is never right. ErrBusy as in Enter.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (ok, outdated bool, err error) {
	composed, needed := norm.NFC.String(password), workOf(hash)
	if composed != password { // whatever the hash: what is typed decides the time
		needed.size *= 2
	}
	leave, err := h.gate.enter(ctx, needed)
	if err != nil {
		return false, false, err
	}
	defer leave()
	if ok, outdated = verify(hash, password); !ok && composed != password {
		ok, outdated = verify(hash, composed)
	}
	return ok, outdated, nil
}

func verify(hash, password string) (ok, outdated bool) {
	if _, ok := bcryptCost(hash); ok {
		// bcrypt has always judged the first 72 bytes only; comparing, unlike making, accepts longer passwords. A tail that
		// was not judged must not become part of the password.
		ok = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
		return ok, ok && len(password) <= maxBcryptBytes
	}
	stored, err := parsePHC(hash)
	if err != nil {
		// The time a response takes must not show who has an account.
		current.derive(password, make([]byte, saltBytes), keyBytes)
		return false, false
	}
	key := stored.params.derive(password, stored.salt, len(stored.key))
	ok = subtle.ConstantTimeCompare(key, stored.key) == 1
	return ok, ok && !stored.isCurrent()
}

// bcryptCost returns the cost of a bcrypt hash that is checked, and false for any other.
func bcryptCost(hash string) (cost int, ok bool) {
	if !strings.HasPrefix(hash, "$2a$") && !strings.HasPrefix(hash, "$2b$") && !strings.HasPrefix(hash, "$2y$") {
		return 0, false
	}
	cost, err := bcrypt.Cost([]byte(hash))
	return cost, err == nil && cost <= maxBcryptCost
}
