package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/smap-platform/identity/internal/authentication"
)

// knownCode takes the place of the code that was mailed: the mail need not come, and nobody has to read it.
const knownCode = "123456"

func (s *service) setCode(ctx context.Context, email string) error {
	id, err := s.userID(ctx, email)
	if err != nil {
		return err
	}
	digest := authentication.CodeKey(s.settings.stack.Secrets.CodeHMAC).Digest(authentication.PurposeVerification, id, knownCode)
	_, err = s.db.Conn(ctx).ExecContext(ctx, "UPDATE verification_codes SET digest = $1 WHERE user_id = $2", digest, id)
	return err
}

func (s *service) userID(ctx context.Context, email string) (id string, err error) {
	err = s.db.Conn(ctx).QueryRowContext(ctx, "SELECT id FROM users WHERE username = $1", email).Scan(&id)
	return id, err
}

// person registers somebody, verifies the address and logs in.
func (s *service) person(ctx context.Context, email string) (c *client, id string, err error) {
	c = newClient(s.url)
	for _, step := range []func() error{
		func() error { _, err := c.register(ctx, email); return err },
		func() error { return s.setCode(ctx, email) },
		func() error { _, err := c.verify(ctx, email, knownCode); return err },
		func() error { _, err := c.login(ctx, email); return err },
		func() error { id, err = s.userID(ctx, email); return err },
	} {
		if err := step(); err != nil {
			return nil, "", err
		}
	}
	return c, id, nil
}

// administrator is a person who may invite.
func (s *service) administrator(ctx context.Context, email string) (c *client, id string, err error) {
	if c, id, err = s.person(ctx, email); err != nil {
		return nil, "", err
	}
	promote := exec.CommandContext(ctx, filepath.Join(s.folder, "api"), "admin", "promote", email) //nolint:gosec // a binary we have just built
	promote.Env = append(os.Environ(), s.env.list()...)
	if out, err := promote.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("promoting: %w: %s", err, out)
	}
	_, err = c.login(ctx, email)
	return c, id, err
}
