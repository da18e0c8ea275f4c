package schema_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// addresses judges by rules of its own: the real ones are those of who asks.
var addresses = schema.Addresses{
	Found: func(address string) bool { return !strings.HasPrefix(address, " ") },
	Valid: func(address string) bool { return !strings.Contains(address, "..") },
}

func TestOddities(t *testing.T) {
	t.Parallel()
	look := func(t *testing.T, db *database.DB) (found []string) {
		t.Helper()
		all, err := schema.Oddities(context.Background(), db, addresses)
		require.NoError(t, err)
		for _, o := range all {
			require.NotEmpty(t, o.Note)
			for _, r := range o.Rows {
				found = append(found, fmt.Sprintf("%d %s: %s %s %q", o.Count, o.Kind, r.Table, r.ID[len(r.ID)-2:], r.Name))
			}
		}
		return found
	}

	t.Run("are found in the previous release's tables, and stop no migration", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			db := connect(t, url)
			require.Empty(t, look(t, db), "without tables")
			exec(t, db, schematest.PreviousRelease)
			require.Empty(t, look(t, db))
			odd := func(n, columns, values string) {
				exec(t, db, "INSERT INTO users (id, username, password_hash, role_hash"+columns+") VALUES ('"+id(n)+"', "+values+")")
			}
			odd("01", "", "'an@example.com', 'hash', 'role'")
			odd("02", "", "' binh@example.com', 'hash', 'role'")
			odd("03", "", "'chi..le@example.com', 'hash', 'role'")
			odd("04", ", created_at", "'dung@example.com', 'hash', 'role', NULL")
			odd("05", ", updated_at", "'giang@example.com', 'hash', NULL, NULL")
			odd("06", ", is_active", "'hoa@example.com', '', '', NULL")
			odd("07", "", "'khanh@example.com', NULL, 'role'")
			odd("08", ", created_at, deleted_at", "'gone..@example.com', NULL, NULL, NULL, now()")
			exec(t, db, `INSERT INTO plans (id, name, code, max_usage, created_at, deleted_at) VALUES
				('`+id("11")+`', 'Free', 'free', 3, now(), now()), ('`+id("12")+`', 'Team', 'team', NULL, now(), NULL),
				('`+id("13")+`', 'Pro', 'pro', 3, NULL, NULL)`)
			exec(t, db, `INSERT INTO subscriptions (id, user_id, plan_id, status, starts_at, updated_at) VALUES
				('`+id("21")+`', '`+id("01")+`', '`+id("12")+`', 'active', now(), NULL)`)

			want := []string{
				`1 users who cannot be found by their address: users 02 " binh@example.com"`,
				`1 users with an address that could not be registered today: users 03 "chi..le@example.com"`,
				`2 users without the time of their creation or last change: users 04 "dung@example.com"`,
				`2 users without the time of their creation or last change: users 05 "giang@example.com"`,
				`2 users without a role: users 05 "giang@example.com"`,
				`2 users without a role: users 06 "hoa@example.com"`,
				`1 users without is_active: users 06 "hoa@example.com"`,
				`1 verified users without a password: users 07 "khanh@example.com"`,
				`2 plans without times or max_usage: plans 12 "team"`,
				`2 plans without times or max_usage: plans 13 "pro"`,
				`1 deleted plans with the code of the trial: plans 11 "free"`,
				`1 subscriptions without the time of their creation or last change: subscriptions 21 "active"`,
			}
			require.Equal(t, want, look(t, db))
			_, err := schema.Up(context.Background(), db)
			require.NoError(t, err)
			var filled []string
			for _, line := range want {
				if !strings.Contains(line, "the time of their") && !strings.Contains(line, `"pro"`) {
					filled = append(filled, strings.Replace(line, "2 plans", "1 plans", 1))
				}
			}
			require.Equal(t, filled, look(t, db))
		})
	})

	t.Run("are counted, and only the first are kept", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			for i := range schema.MaxListed + 5 {
				addUser(t, db, fmt.Sprintf("019c1000-0000-7000-8000-%012d", i), fmt.Sprintf("an..%d@example.com", i), false, 0, nil)
			}
			all, err := schema.Oddities(context.Background(), db, addresses)
			require.NoError(t, err)
			require.Len(t, all, 2, "they have no role either")
			require.Equal(t, schema.MaxListed+5, all[0].Count)
			require.Len(t, all[0].Rows, schema.MaxListed)
		})
	})
}
