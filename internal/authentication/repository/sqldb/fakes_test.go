package sqldb_test

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
)

// plain is a PasswordHasher that hashes nothing.
type plain struct{}

func (plain) Hash(_ context.Context, password string) (string, error) { return password, nil }

func (plain) Verify(_ context.Context, hash, password string) (ok, outdated bool, err error) {
	return hash == password, false, nil
}

type tokens struct{}

func (tokens) Issue(authentication.User, bool) (authentication.Token, error) {
	return authentication.Token{Value: "token"}, nil
}

func (tokens) Check(string) (authentication.Claims, error) {
	return authentication.Claims{}, authentication.ErrUnauthenticated
}

// trials counts.
type trials struct{ started int }

func (t *trials) StartTrial(context.Context, string) error {
	t.started++
	return nil
}

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }
