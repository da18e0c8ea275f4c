package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/test/harness"
)

// person is a user who has logged in, with a client that keeps its connections.
type person struct {
	*harness.Client
	email string
	id    string // of the user
}

// newPerson registers a person at a service, proves the address and logs in.
func (b *bench) newPerson(ctx context.Context, s *harness.System, email string) (*person, error) {
	p := &person{Client: s.Client().KeepAlive(), email: email}
	_, err := harness.Expect(http.StatusCreated)(p.Register(ctx, email, harness.Password))
	if err != nil {
		return nil, err
	}
	if p.id, err = b.setCode(ctx, s, email); err != nil {
		return nil, err
	}
	if _, err := harness.Expect(http.StatusOK)(p.Verify(ctx, email, knownCode)); err != nil {
		return nil, err
	}
	return p, p.login(ctx)
}

// newAdministrator is newPerson for an administrator.
func (b *bench) newAdministrator(ctx context.Context, s *harness.System, email string) (*person, error) {
	p, err := b.newPerson(ctx, s, email)
	if err != nil {
		return nil, err
	}
	out, err := s.Command(ctx, nil, harness.API, "user", "promote", p.email, "--by", "a test")
	if err == nil && out.Code != 0 {
		err = errors.New(out.Stderr)
	}
	return p, errors.Join(err, p.login(ctx))
}

func (p *person) login(ctx context.Context) error {
	_, err := harness.Expect(http.StatusOK)(p.Login(ctx, p.email, harness.Password, false))
	return err
}

// knownCode replaces the code that was mailed: in an outage the mail need not come.
const knownCode = "123456"

// setCode sets the newest code of an address to knownCode and returns the user's id.
func (b *bench) setCode(ctx context.Context, s *harness.System, email string) (userID string, err error) {
	var request string
	err = s.DB.QueryRowContext(ctx, `SELECT id, user_id FROM code_requests WHERE email = $1 AND purpose = $2
		ORDER BY created_at DESC LIMIT 1`, email, authentication.PurposeVerification).Scan(&request, &userID)
	if err != nil {
		return "", err
	}
	key := authentication.CodeKey(b.config.Secrets.CodeHMAC)
	digest := key.Digest(authentication.PurposeVerification, request, knownCode)
	_, err = s.DB.ExecContext(ctx, "UPDATE code_requests SET digest = $1 WHERE id = $2", digest, request)
	return userID, err
}
