package usecase_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	"github.com/smap-platform/identity/internal/invitation/usecase"
)

func TestEraseOnDatabase(t *testing.T) {
	t.Parallel()
	erase := func(f flow, userID, email string, until time.Time) {
		f.Helper()
		eraser := usecase.NewEraser(sqldb.NewBatches(f.db))
		require.NoError(f, f.db.WithinTx(context.Background(), func(ctx context.Context) error {
			return eraser.EraseUser(ctx, userID, email, until)
		}))
	}
	idOf := func(f flow, email string) string {
		u, err := f.users.ByEmail(context.Background(), email)
		require.NoError(f, err)
		return u.ID
	}

	t.Run("takes an address out of reports, and leaves the rest", onDatabase(func(f flow) {
		f.invite("bo@example.com", "lan@example.com")
		long := make([]string, 4000) // several parts
		for i := range long {
			long[i] = strings.Repeat("no address ", 20) + string(rune('a'+i%26))
		}
		upload := append([]string{"hoa@example.com", "BO@example.com", "Bo <bo@example.com>", "lan@example.com"}, long...)
		_, before, err := f.try("first", upload...)
		require.NoError(f, err)
		_, _, err = f.try("another's", "mai@example.com", "lan@example.com")
		require.NoError(f, err)

		erase(f, idOf(f, "bo@example.com"), "bo@example.com", f.clock.now.Add(time.Second))
		_, after, err := f.try("first", upload...)
		require.NoError(f, err)
		for i, line := range before {
			if strings.Contains(strings.ToLower(line.Address), "bo@example.com") {
				before[i].Address = ""
			}
		}
		require.Equal(f, before, after)
		_, others, err := f.try("another's", "mai@example.com", "lan@example.com")
		require.NoError(f, err)
		require.Equal(f, "lan@example.com", others[0].Address)
	}))
	t.Run("leaves reports of after", onDatabase(func(f flow) {
		f.invite("bo@example.com")
		_, before, err := f.try("first", "hoa@example.com", "bo@example.com")
		require.NoError(f, err)
		erase(f, idOf(f, "hoa@example.com"), "bo@example.com", f.clock.now)
		_, _, err = f.try("first", "hoa@example.com", "bo@example.com")
		require.ErrorIs(f, err, invitation.ErrKeyReused, "they were invited by it: its digest is gone")
		require.Equal(f, "bo@example.com", before[0].Address)
	}))
	t.Run("forgets keys and digests that lead to a person", onDatabase(func(f flow) {
		for _, key := range []string{"for Bo@example.com", "another"} {
			_, _, err := f.try(key, key[:3]+"@example.com")
			require.NoError(f, err)
		}
		erase(f, idOf(f, "ano@example.com"), "bo@example.com", f.clock.now.Add(time.Second))
		require.Equal(f, 1, f.rows("invitation_batches WHERE idempotency_key IS NULL AND request_digest IS NULL"))
		require.Equal(f, 1, f.rows("invitation_batches WHERE idempotency_key = 'another' AND request_digest IS NULL"))
		erase(f, f.admin.ID, f.admin.Email, f.clock.now)
		require.Equal(f, 2, f.rows("invitation_batches WHERE idempotency_key IS NULL"))
		require.Equal(f, 2, f.rows("invitations"))
	}))
}
