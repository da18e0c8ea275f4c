package app

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestLegacy(t *testing.T) {
	t.Parallel()
	t.Run("the operator's tool needs a migrated database", func(t *testing.T) {
		t.Parallel()
		db, err := database.Open(database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "empty.db")})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		_, err = LegacyTool(context.Background(), config.Config{}, db)
		require.ErrorContains(t, err, "api migrate up")
	})

	t.Run("legacy copies count as rows of the outbox, and are retried with them", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			ctx := context.Background()
			now := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
			exec := func(query string, args ...any) {
				_, err := db.Conn(ctx).ExecContext(ctx, query, args...)
				require.NoError(t, err)
			}
			const id = "019c1000-0000-7000-8000-00000000000"
			for i, failed := range []any{nil, now} {
				n := []string{"1", "2"}[i]
				exec(`INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, headers, body, sealed, event_time,
					created_at, available_at, failed_at) VALUES ($1, 'evt', '', '', '', true, '{}', '', false, $2, $2, $2, $3)`, id+n, now, failed)
				exec(`INSERT INTO legacy_mails (id, event_id, headers, body, event_time, created_at, available_at, failed_at)
					VALUES ($1, 'evt', '{}', '', $2, $2, $2, $3)`, id+n, now.Add(-time.Minute), failed)
			}
			depth, err := outboxDepth(ctx, db, now)
			require.NoError(t, err)
			require.Equal(t, outbox.Depth{Rows: 2, Failed: 2, OldestDue: time.Minute}, depth)
			n, err := retryOutbox(ctx, db, now)
			require.NoError(t, err)
			require.EqualValues(t, 2, n)
			depth, err = outboxDepth(ctx, db, now)
			require.NoError(t, err)
			require.Equal(t, outbox.Depth{Rows: 4, OldestDue: time.Minute}, depth)
		})
	})
}
