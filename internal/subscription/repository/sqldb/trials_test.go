package sqldb_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

func TestTrials(t *testing.T) {
	t.Parallel()
	each(t, "records a digest once", func(s suite) {
		trials := sqldb.NewTrials(s.db)
		record := func(digest string) (first bool) {
			require.NoError(s.t, s.tx(func(ctx context.Context) (err error) {
				first, err = trials.Record(ctx, []byte(digest))
				return err
			}))
			return first
		}
		require.True(s.t, record("\x00an"))
		require.False(s.t, record("\x00an"))
		require.True(s.t, record("\x00lan"))
		_, err := trials.Record(context.Background(), []byte("hoa"))
		require.ErrorIs(s.t, err, database.ErrNoTx)
	})

	each(t, "finds every earlier subscription of an address", func(s suite) {
		trials := sqldb.NewTrials(s.db)
		had := func(email string) (had bool) {
			require.NoError(s.t, s.tx(func(ctx context.Context) (err error) {
				had, err = trials.HadSubscription(ctx, email)
				return err
			}))
			return had
		}
		name := func(id, email string) { s.exec("UPDATE users SET username = $2 WHERE id = $1", id, email) }
		ended := func(userID string) subscription.Subscription {
			sub := s.trial(userID)
			sub.Status = subscription.StatusExpired
			return s.create(sub)
		}

		living := s.user()
		name(living, "An@Example.com")
		require.False(s.t, had("an@example.com"), "a user without one")
		ended(living)
		require.True(s.t, had("an@example.com"))
		require.True(s.t, had("AN@example.com"))
		require.False(s.t, had("n@example.com"))
		require.False(s.t, had(""))

		gone := s.user()
		name(gone, "lan@example.com")
		ended(gone)
		s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", gone, now)
		again := s.user()
		name(again, "LAN@example.com")
		require.True(s.t, had("lan@example.com"), "a deleted user counts")

		withdrawn := s.user()
		name(withdrawn, "hoa@example.com")
		s.exec("UPDATE subscriptions SET deleted_at = $2 WHERE id = $1", ended(withdrawn).ID, now)
		require.True(s.t, had("hoa@example.com"), "a deleted subscription counts")
	})
}
