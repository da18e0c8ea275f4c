package sqldb_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/operations/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestLanePauses(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		pauses := sqldb.NewLanePauses(db)
		inTx := func(fn func(ctx context.Context)) {
			t.Helper()
			require.NoError(t, db.WithinTx(t.Context(), func(ctx context.Context) error { fn(ctx); return nil }))
		}
		add := func(p operations.LanePause) (added bool) {
			t.Helper()
			inTx(func(ctx context.Context) {
				var err error
				added, err = pauses.Add(ctx, p)
				require.NoError(t, err)
			})
			return added
		}
		all := func() []operations.LanePause {
			t.Helper()
			found, err := pauses.All(t.Context())
			require.NoError(t, err)
			return found
		}
		require.Empty(t, all())

		since := time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
		second := operations.LanePause{Queue: "identity.invitation", By: "bình", Since: since}
		first := operations.LanePause{Queue: "identity.email", By: "an", Reason: "the server moves", Since: since.Add(time.Second)}
		require.True(t, add(second))
		require.True(t, add(first))
		require.False(t, add(operations.LanePause{Queue: first.Queue, By: "another", Since: since}), "the first stays")
		require.Equal(t, []operations.LanePause{first, second}, all())
		found, err := pauses.Of(t.Context(), first.Queue)
		require.NoError(t, err)
		require.Equal(t, first, found)

		inTx(func(ctx context.Context) {
			removed, err := pauses.Remove(ctx, first.Queue)
			require.NoError(t, err)
			require.Equal(t, first, removed)
			_, err = pauses.Remove(ctx, first.Queue)
			require.ErrorIs(t, err, operations.ErrNotPaused)
			_, err = pauses.Of(ctx, first.Queue)
			require.ErrorIs(t, err, operations.ErrNotPaused)
		})
		require.Equal(t, []operations.LanePause{second}, all())

		_, err = pauses.Add(t.Context(), first)
		require.ErrorIs(t, err, database.ErrNoTx)
		_, err = pauses.Remove(t.Context(), second.Queue)
		require.ErrorIs(t, err, database.ErrNoTx)
	})
}
