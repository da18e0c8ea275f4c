package database_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/database"
)

func TestPurge(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const rows = 2500 // more than two transactions change
	fill := func(t *testing.T, db *database.DB) {
		t.Helper()
		exec(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
			INSERT INTO things (name, place) SELECT 'old ' || i, i FROM n ORDER BY i DESC`)
		exec(t, db, "INSERT INTO things (name) VALUES ('new')")
	}
	old := database.Purge{Table: "things", Key: "name", Oldest: "place", Where: "place > $1"}

	t.Run("deletes all rows that meet the condition, and no others", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			fill(t, db)
			n, err := db.Purge(ctx, "purging", old, 0)
			require.NoError(t, err)
			require.Equal(t, int64(rows), n)
			require.Equal(t, []string{"new"}, names(t, db))
			n, err = db.Purge(ctx, "purging", old, 0)
			require.NoError(t, err)
			require.Zero(t, n)
		})
	})

	t.Run("changes rows where it is told to, by a key of several columns", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			fill(t, db)
			n, err := db.Purge(ctx, "purging",
				database.Purge{Table: "things", Key: "name, place", Oldest: "place", Where: "place > $1", Set: "place = NULL"}, 0)
			require.NoError(t, err)
			require.Equal(t, int64(rows), n)
			require.Len(t, names(t, db), rows+1)
			n, err = db.Purge(ctx, "purging", old, 0)
			require.NoError(t, err)
			require.Zero(t, n)
		})
	})

	t.Run("begins with the oldest, wherever it is in the table", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			fill(t, db)
			exec(t, db, "CREATE TABLE holders (name text NOT NULL REFERENCES things (name))")
			exec(t, db, "INSERT INTO holders (name) VALUES ('old 1300')")
			n, err := db.Purge(ctx, "purging", old, 0)
			require.ErrorContains(t, err, "purging: ")
			require.Equal(t, int64(1250), n, "five transactions before the one that fails")
			left, err := database.All(ctx, db, "reading", database.Text, "SELECT name FROM things WHERE place <= 1250")
			require.NoError(t, err)
			require.Empty(t, left)
		})
	})

	t.Run("keeps what it has done when it is ended", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			fill(t, db)
			ended, end := context.WithCancel(ctx)
			end()
			n, err := db.Purge(ended, "purging", old, 0)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "purging: ")
			require.Zero(t, n)
			require.Len(t, names(t, db), rows+1)
		})
	})

	t.Run("waits for no row that another transaction holds", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			if db.Dialect() == database.SQLite { // one transaction at a time
				return
			}
			fill(t, db)
			require.NoError(t, db.WithinTx(ctx, func(inside context.Context) error {
				_, err := db.Exec(inside, "locking", "UPDATE things SET place = place WHERE place = 1")
				require.NoError(t, err)
				n, err := db.Purge(ctx, "purging", old, 0)
				require.NoError(t, err)
				require.Equal(t, int64(rows-1), n)
				return nil
			}))
		})
	})
}
