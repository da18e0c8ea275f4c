package legacy

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/smap-platform/identity/internal/authentication"
)

const (
	previousCost   = 10 // the previous release's
	maxBcryptBytes = 72 // how much of a password bcrypt looks at
)

// Hasher is the core's PasswordHasher, whose places the hashes made here take as well.
type Hasher interface {
	authentication.PasswordHasher
	// Enter waits for a place to make a bcrypt hash of so much cost and returns the function that gives it back, or
	// authentication.ErrBusy.
	Enter(ctx context.Context, bcryptCost int) (leave func(), err error)
}

// Passwords is an authentication.PasswordHasher for as long as binaries of the previous release may take over again.
// Safe for concurrent use.
type Passwords struct{ core Hasher }

// NewPasswords returns a PasswordHasher that decorates core.
func NewPasswords(core Hasher) *Passwords { return &Passwords{core} }

// Hash returns a hash that the previous release can read: bcrypt of cost 10. A password of more than 72 bytes becomes
// argon2id all the same, because bcrypt cannot take it in: its user cannot log in on the previous release.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	if len(password) > maxBcryptBytes {
		return p.core.Hash(ctx, password)
	}
	leave, err := p.core.Enter(ctx, previousCost)
	if err != nil {
		return "", err
	}
	defer leave()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), previousCost)
	return string(hash), err
}

// Verify reports whether password made hash, and never that the hash is outdated: nothing is rehashed. A hash that
// cannot be read costs as much time as bcrypt, which nearly everybody's is.
func (p *Passwords) Verify(ctx context.Context, hash, password string) (ok, outdated bool, err error) {
	if _, err := bcrypt.Cost([]byte(hash)); err != nil && !strings.HasPrefix(hash, "$argon2id$") {
		hash = unusable()
	}
	ok, _, err = p.core.Verify(ctx, hash, password)
	return ok, false, err
}

// unusable returns the hash of a password that is forgotten at once.
var unusable = sync.OnceValue(func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), previousCost)
	if err != nil {
		panic(err) // only for a password of more than 72 bytes, or a cost out of range
	}
	return string(hash)
})
