package usecase_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

func TestAcceptOnDatabase(t *testing.T) {
	t.Parallel()

	t.Run("succeeds once", onDatabase(func(f flow) {
		secret := token(f.sent(f.invite("an@example.com"))[0])
		outcomes := make(chan error, 8)
		for range cap(outcomes) {
			go func() {
				_, err := f.Accept(context.Background(), secret, "correct horse", client)
				outcomes <- err
			}()
		}
		succeeded := 0
		for range cap(outcomes) {
			err := <-outcomes
			if err == nil {
				succeeded++
			} else {
				require.ErrorIs(f, err, invitation.ErrUsed)
			}
		}
		require.Equal(f, 1, succeeded)
		require.Equal(f, 1, f.trials.started)
	}))
}
