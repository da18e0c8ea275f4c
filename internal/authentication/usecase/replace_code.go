package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
)

// replace makes a fresh code in place of the one that eventID was to deliver, and has it mailed: the person asked for a
// code and has had none. It does so once per request, and not when the person has asked again, has verified or has gone.
// It does not count as a code that the person asked for.
func (m *CodeMailSender) replace(ctx context.Context, eventID, userID, locale string) error {
	replaced := false
	err := m.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		replaced = false
		user, err := m.deps.Users.LockByID(ctx, userID)
		if errors.Is(err, authentication.ErrUserNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		request, err := m.deps.Requests.ByEvent(ctx, eventID)
		if errors.Is(err, authentication.ErrCodeNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		now := m.deps.Clock.Now()
		last := request.Code
		done := user.Disabled() || request.Purpose == authentication.PurposeVerification && user.Active
		if done || !last.UsedAt.IsZero() || !last.Replaceable(now) {
			return nil
		}
		replaced = true
		_, err = issuer{m.deps.Requests, m.deps.Events, m.deps.CodeKeys}.
			issue(ctx, request, user, locale, last.CreatedAt, now)
		return err
	})
	if err == nil && replaced {
		m.deps.Replaced(ctx, eventID)
	}
	return err
}
