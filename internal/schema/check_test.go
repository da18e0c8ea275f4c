package schema_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// written returns the rights that the statements in this program need, as "INSERT users".
func written(t *testing.T) map[string]bool {
	t.Helper()
	verb := regexp.MustCompile(`\b(INSERT) INTO ([a-z_]+)|\b(UPDATE) ([a-z_]+) SET|\b(DELETE) FROM ([a-z_]+)`)
	all := map[string]bool{}
	root := os.DirFS("..")
	require.NoError(t, fs.WalkDir(root, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "schema/") {
			return err
		}
		content, err := fs.ReadFile(root, path)
		for _, m := range verb.FindAllStringSubmatch(string(content), -1) {
			all[strings.TrimSpace(m[1]+m[3]+m[5]+" "+m[2]+m[4]+m[6])] = true
		}
		return err
	}))
	return all
}

func TestCheck(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("passes on a migrated database, and says to migrate one that is not", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			require.NoError(t, schema.Check(ctx, db))
			_, err := schema.Down(ctx, db)
			require.NoError(t, err)
			require.ErrorIs(t, schema.Check(ctx, db), schema.ErrPending)
			require.ErrorIs(t, schema.Ready(ctx, db), schema.ErrPending)
		})
	})

	t.Run("names the right that is missing, for every write of the program", func(t *testing.T) {
		t.Parallel()
		all := written(t)
		require.Greater(t, len(all), 30)
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			db := connect(t, url)
			_, err := schema.Up(ctx, db)
			require.NoError(t, err)
			for right := range all {
				verb, table, _ := strings.Cut(right, " ")
				exec(t, db, fmt.Sprintf("REVOKE %s ON %s FROM CURRENT_USER", verb, table))
				require.EqualError(t, schema.Check(ctx, db), fmt.Sprintf("the database denies %s on table %s", verb, table))
				require.NoError(t, schema.Ready(ctx, db))
				exec(t, db, fmt.Sprintf("GRANT %s ON %s TO CURRENT_USER", verb, table))
			}
			require.NoError(t, schema.Check(ctx, db))
		})
	})

	t.Run("names a table that is hidden or gone", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			db := connect(t, url)
			_, err := schema.Up(ctx, db)
			require.NoError(t, err)
			exec(t, db, "REVOKE SELECT ON goose_db_version FROM CURRENT_USER")
			require.EqualError(t, schema.Check(ctx, db), "the database denies SELECT on table goose_db_version")
			require.NoError(t, schema.Ready(ctx, db))
			exec(t, db, "GRANT SELECT ON goose_db_version TO CURRENT_USER")
			exec(t, db, "DROP TABLE mail_pace")
			require.EqualError(t, schema.Check(ctx, db),
				"the database shows no table mail_pace: it is missing, or USAGE on its schema is")
		})
	})

	t.Run("passes over a read-only server at the start, and names it", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			_, err := schema.Up(ctx, connect(t, url))
			require.NoError(t, err)
			db := connect(t, url+"&default_transaction_read_only=on")
			applied, err := schema.Up(ctx, db)
			require.NoError(t, err)
			require.Empty(t, applied)
			require.EqualError(t, schema.Check(ctx, db), "the database is read-only")
			require.NoError(t, schema.Current(ctx, db))
		})
	})
}
