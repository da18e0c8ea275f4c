package usecase_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

// TestAuthorization holds for every verb of an administrator.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	t.Run("refuses an actor who is no administrator", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		user := invitation.Actor{UserID: adminID}
		require.ErrorIs(t, f.MayInvite(user), invitation.ErrForbidden)
		require.NoError(t, f.MayInvite(invitation.Actor{UserID: adminID, Admin: true}))
		_, err := f.Invite(context.Background(), user, invitation.Upload{Addresses: lines{"an@example.com"}})
		require.ErrorIs(t, err, invitation.ErrForbidden)
		_, err = f.Cancel(context.Background(), user, batchID)
		require.ErrorIs(t, err, invitation.ErrForbidden)
		f.longTx.requireTx(t, 0, 0)
	})
}
