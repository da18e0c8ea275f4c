package schema_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
)

func TestUnknownTimes(t *testing.T) {
	t.Parallel()
	t.Run("are filled with the first one that is known, and else the epoch", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			db := connect(t, url)
			exec(t, db, previousRelease)
			exec(t, db, "INSERT INTO users (username, created_at) SELECT n || '@example.com', NULL FROM generate_series(1, 10001) n")
			_, err := schema.Up(context.Background(), db)
			require.NoError(t, err)
			require.Zero(t, count(t, db, "SELECT count(*) FROM users WHERE created_at IS NULL OR updated_at IS NULL"))
			exec(t, db, "DELETE FROM users WHERE username ~ '^[0-9]'")
			const row = "SELECT right(id::text, 2), extract(epoch FROM created_at)::bigint, extract(epoch FROM updated_at)::bigint FROM "
			require.Equal(t, []string{"02 1740902400 1740902400", "04 0 0"}, texts(t, db, 3, row+"users WHERE id <> '"+id("01")+"' ORDER BY id"))
			require.Equal(t, []string{"03 0 0"}, texts(t, db, 3, row+"plans"))
			require.Equal(t, []string{"05 1740816000 1741161600", "06 1709280000 1709280000"}, texts(t, db, 3, row+"subscriptions ORDER BY id"))
		})
	})

	// A database that 00001 has created is taken over by pods of the previous release like one of their own.
	t.Run("may be added to every database afterwards", func(t *testing.T) {
		t.Parallel()
		catalogs := map[string]string{}
		for name, before := range map[string]string{"created": "", "adopted": schematest.PreviousRelease} {
			schematest.OnPostgres(t, func(t *testing.T, url string) {
				db := connect(t, url)
				exec(t, db, before)
				_, err := schema.Up(context.Background(), db)
				require.NoError(t, err)
				catalogs[name] = catalog(t, db)
				exec(t, db, `INSERT INTO users (id, username, created_at, updated_at) VALUES ('`+id("01")+`', 'an@example.com', NULL, NULL);
					INSERT INTO plans (id, name, code, created_at, updated_at) VALUES ('`+id("02")+`', 'Free', 'free', NULL, NULL);
					INSERT INTO subscriptions (user_id, plan_id, status, starts_at, created_at, updated_at) VALUES
						('`+id("01")+`', '`+id("02")+`', 'active', now(), NULL, NULL)`)
				require.Equal(t, []string{"true 3"}, texts(t, db, 2, "SELECT is_active, max_usage FROM users, plans"), "its defaults hold")
			})
		}
		require.Equal(t, catalogs["adopted"], catalogs["created"])
	})
}
