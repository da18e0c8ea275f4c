package database_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/database"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	type key struct{}
	var seen []string
	db := prepare(t, database.Options{
		Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db"),
		Watch: func(ctx context.Context, statement string) {
			if ctx.Value(key{}) != nil {
				seen = append(seen, statement)
			}
		},
	})
	ctx := context.WithValue(t.Context(), key{}, true)
	insert := "INSERT INTO things (name) VALUES ($1)"
	_, err := db.Conn(ctx).ExecContext(ctx, insert, "one")
	require.NoError(t, err)
	require.NoError(t, db.WithinTx(ctx, func(ctx context.Context) error {
		tx, err := db.Tx(ctx)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, insert, "two")
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, insert, "two")
		require.Error(t, err)
		_, err = db.Conn(ctx).ExecContext(ctx, "DELETE FROM things WHERE name = 'none'")
		require.NoError(t, err)
		_, err = db.Conn(ctx).ExecContext(ctx, "DELETE FROM things WHERE name = 'one'")
		return err
	}))
	require.Equal(t, []string{insert, insert, "DELETE FROM things WHERE name = 'one'"}, seen, "what has changed rows")
}
