package schema_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestUpAndDown(t *testing.T) {
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		require.NoError(t, schema.Current(ctx, db))
		applied, err := schema.Up(ctx, db)
		require.NoError(t, err)
		require.Empty(t, applied, "a second run finds nothing to do")

		insert := "INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, headers, body, sealed," +
			" event_time, created_at, available_at) VALUES ('01a2079e-8aec-7eff-9d49-aff4a1ebec4a', 'evt_1', '', '', '', true," +
			" '{}', '', false, $1, $1, $1)"
		downThrough(t, db, "00006_legacy_mails.sql")
		_, err = db.Conn(ctx).ExecContext(ctx, insert, time.Now().UTC())
		require.NoError(t, err)
		_, err = schema.Down(ctx, db)
		require.ErrorIs(t, err, schema.ErrOutboxNotEmpty)
		_, err = db.Conn(ctx).ExecContext(ctx, "DELETE FROM outbox")
		require.NoError(t, err)

		name, err := schema.Down(ctx, db)
		require.NoError(t, err)
		require.NotEmpty(t, name)
		require.ErrorContains(t, schema.Current(ctx, db), "api migrate up")

		status, err := schema.Status(ctx, db)
		require.NoError(t, err)
		require.True(t, status[len(status)-1].AppliedAt.IsZero())
		require.False(t, status[0].AppliedAt.IsZero())

		applied, err = schema.Up(ctx, db)
		require.NoError(t, err)
		require.Equal(t, []string{name, "00006_legacy_mails.sql"}, applied[:2])
		require.NoError(t, schema.Current(ctx, db))
	})
}

// downThrough takes steps back until that of the given name has been.
func downThrough(t *testing.T, db *database.DB, step string) {
	t.Helper()
	for name := ""; name != step; {
		var err error
		name, err = schema.Down(context.Background(), db)
		require.NoError(t, err)
		require.NotEmpty(t, name, "%s was not among them", step)
	}
}
