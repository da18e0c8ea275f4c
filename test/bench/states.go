package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/http"

	"golang.org/x/crypto/bcrypt"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/test/harness"
)

// states are what an address can be, in the eyes of a stranger all the same. The first one is what all are compared with.
var states = []struct {
	name   string
	create func(b *bench, ctx context.Context, s *harness.System, email string) error // nil: nobody
	old    bool                                                                       // has a hash of the previous release, which takes another time: neither registered nor judged
}{
	{name: "unknown"},
	{name: "unknown (control)"},
	{name: "active", create: (*bench).createActive},
	{name: "unverified", create: (*bench).createUnverified},
	{name: "invited", create: (*bench).createInvited},
	{name: "active, bcrypt", create: (*bench).createOld, old: true},
}

func (b *bench) createActive(ctx context.Context, s *harness.System, email string) error {
	owner := newStranger(s.Client().Forgetful())
	_, browser, err := owner.register(ctx, email, harness.Password)
	if err != nil {
		return err
	}
	if _, err := b.setCode(ctx, s, email); err != nil {
		return err
	}
	proof := map[string]string{"email": email, "otp": knownCode, "registration": browser}
	_, err = harness.Expect(http.StatusOK)(owner.post(ctx, "verify-otp", proof))
	return err
}

func (b *bench) createUnverified(ctx context.Context, s *harness.System, email string) error {
	_, _, err := newStranger(s.Client().Forgetful()).register(ctx, email, harness.Password)
	return err
}

func (b *bench) createInvited(ctx context.Context, s *harness.System, email string) error {
	admin, err := b.newAdministrator(ctx, s, "admin@example.com")
	if err != nil {
		return err
	}
	return admin.invite(ctx, "email\n"+email+"\n", 1)
}

// createOld creates a user who has not logged in since the previous release.
func (b *bench) createOld(ctx context.Context, s *harness.System, email string) error {
	if err := b.createActive(ctx, s, email); err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(harness.Password), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	_, err = s.DB.ExecContext(ctx, "UPDATE users SET password_hash = $1 WHERE username = $2", string(hash), email)
	return err
}

// addressOf returns the address of the person with this number in a state. 0 is the one that others are copies of.
func addressOf(state, i int) string { return fmt.Sprintf("state%d-%d@example.com", state, i) }

// populate brings n addresses of every state into the database: one of each through the api, the others as copies of all
// rows that this has left.
func (b *bench) populate(ctx context.Context, s *harness.System, n int) error {
	for state, of := range states {
		if of.create == nil {
			continue
		}
		if err := of.create(b, ctx, s, addressOf(state, 0)); err != nil {
			return fmt.Errorf("%s: %w", of.name, err)
		}
		if err := b.copyPerson(ctx, s.DB, state, n); err != nil {
			return fmt.Errorf("%s: %w", of.name, err)
		}
	}
	_, err := s.DB.ExecContext(ctx, "VACUUM ANALYZE")
	return err
}

func (b *bench) copyPerson(ctx context.Context, db *sql.DB, state, n int) error {
	key := authentication.CodeKey(b.config.Secrets.CodeHMAC)
	addresses, digests := make([]string, n), make([]string, n)
	for i := range n {
		addresses[i] = addressOf(state, i+1)
		digests[i] = `\x` + hex.EncodeToString(key.LimitDigest(addresses[i]))
	}
	first := addressOf(state, 0)
	for _, copying := range []struct {
		query string
		args  []any
	}{
		{`INSERT INTO users SELECT (jsonb_populate_record(u, jsonb_build_object('id', gen_random_uuid(), 'username', a))).*
			FROM users u, unnest($2::text[]) a WHERE u.username = $1`, []any{first, addresses}},
		{`INSERT INTO code_requests SELECT (jsonb_populate_record(r, jsonb_build_object(
				'id', gen_random_uuid(), 'email', u.username, 'user_id', u.id, 'event_id', gen_random_uuid()))).*
			FROM code_requests r, users u WHERE r.email = $1 AND u.username = ANY($2)`, []any{first, addresses}},
		{`INSERT INTO invitations SELECT (jsonb_populate_record(i, jsonb_build_object('id', gen_random_uuid(),
				'user_id', u.id, 'event_id', gen_random_uuid(), 'digest', sha256(u.id::text::bytea)))).*
			FROM invitations i JOIN users o ON o.id = i.user_id, users u
			WHERE o.username = $1 AND u.username = ANY($2)`, []any{first, addresses}},
		{`INSERT INTO limits SELECT (jsonb_populate_record(l, jsonb_build_object('digest', d))).*
			FROM limits l, unnest($2::text[]) d WHERE l.digest = $1`, []any{key.LimitDigest(first), digests}},
	} {
		if _, err := db.ExecContext(ctx, copying.query, copying.args...); err != nil {
			return err
		}
	}
	return nil
}
