package usecase

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
)

// currentCode answers the newest code of user, whichever release made it, or ErrCodeNotFound. A code of the previous
// release is answered as one of ours (docs/adr/0006): the caller stores what becomes of it, and from then on it is one.
// The caller holds the user's lock.
func (uc *UseCase) currentCode(ctx context.Context, user authentication.User, now time.Time) (authentication.Code, error) {
	code, missing := uc.Codes.Find(ctx, user.ID, authentication.PurposeVerification)
	if missing != nil && !errors.Is(missing, authentication.ErrCodeNotFound) || user.Active {
		return code, missing
	}
	legacy, err := uc.LegacyCodes.Find(ctx, user.ID)
	if err != nil && !errors.Is(err, authentication.ErrCodeNotFound) {
		return authentication.Code{}, err
	}
	if err != nil || !legacy.Replaces(code, now) {
		return code, missing
	}
	return uc.CodeKey.Adopt(legacy, authentication.PurposeVerification, user.ID), nil
}
