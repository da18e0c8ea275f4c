package schema_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// id returns a uuid that ends in n.
func id(n string) string { return "019c1000-0000-7000-8000-0000000000" + n }

var day = time.Date(2025, 3, 1, 8, 0, 0, 0, time.UTC)

func addUser(t *testing.T, db *database.DB, id, username string, active bool, age time.Duration, deleted any) {
	t.Helper()
	exec(t, db, "INSERT INTO users (id, username, is_active, created_at, updated_at, deleted_at) VALUES ($1, $2, $3, $4, $4, $5)",
		id, username, active, day.Add(-age), deleted)
}

func addSubscription(t *testing.T, db *database.DB, id, userID, planID, status string, age time.Duration, deleted any) {
	t.Helper()
	exec(t, db, `INSERT INTO subscriptions (id, user_id, plan_id, status, starts_at, created_at, updated_at, deleted_at)
		VALUES ($1, $2, $3, $4, $5, $5, $5, $6)`, id, userID, planID, status, day.Add(-age), deleted)
}

// back takes every step back but the previous release's tables.
func back(t *testing.T, db *database.DB) {
	t.Helper()
	for {
		status, err := schema.Status(context.Background(), db)
		require.NoError(t, err)
		if status[1].AppliedAt.IsZero() {
			return
		}
		_, err = schema.Down(context.Background(), db)
		require.NoError(t, err)
	}
}

func TestObstacles(t *testing.T) {
	t.Parallel()
	t.Run("finds the rows in the way", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			ctx := context.Background()
			back(t, db)
			plan := id("f0")
			exec(t, db, "INSERT INTO plans (id, name, code, created_at, updated_at) VALUES ($1, 'Free', 'free', $2, $2)", plan, day)
			// In the way: three spellings of one address, two subscriptions of one user.
			addUser(t, db, id("01"), "An@Example.com", true, 3*time.Hour, nil)
			addUser(t, db, id("02"), "an@example.com", false, time.Hour, nil)
			addUser(t, db, id("03"), "AN@example.com", true, 2*time.Hour, nil)
			addUser(t, db, id("04"), "binh@example.com", true, 0, nil)
			addUser(t, db, id("05"), "Binh@example.com", true, time.Hour, nil)
			addSubscription(t, db, id("11"), id("04"), plan, "trialing", time.Hour, nil)
			addSubscription(t, db, id("12"), id("04"), plan, "active", 2*time.Hour, nil)
			addSubscription(t, db, id("13"), id("01"), plan, "past_due", time.Hour, nil)
			addSubscription(t, db, id("14"), id("01"), plan, "active", time.Hour, nil)
			// Not in the way.
			addUser(t, db, id("06"), "gone@example.com", true, 0, nil)
			addUser(t, db, id("07"), "Gone@example.com", true, 0, day)
			addUser(t, db, id("08"), "alone@example.com", true, 0, nil)
			addSubscription(t, db, id("15"), id("04"), plan, "expired", 0, nil)
			addSubscription(t, db, id("16"), id("08"), plan, "active", 0, nil)
			addSubscription(t, db, id("17"), id("08"), plan, "cancelled", 0, nil)
			addSubscription(t, db, id("18"), id("08"), plan, "active", 0, day)

			user := func(n, name, state string, age time.Duration) schema.Row {
				return schema.Row{UserID: id(n), Username: name, State: state, Since: day.Add(-age)}
			}
			sub := func(n, userN, name, state string, age time.Duration) schema.Row {
				return schema.Row{UserID: id(userN), Username: name, SubscriptionID: id(n), State: state, Since: day.Add(-age)}
			}
			want := []schema.Obstacle{
				{Rule: schema.NamesDiffer, Rows: []schema.Row{
					user("01", "An@Example.com", "verified", 3*time.Hour), user("03", "AN@example.com", "verified", 2*time.Hour),
					user("02", "an@example.com", "not verified", time.Hour),
				}},
				{Rule: schema.NamesDiffer, Rows: []schema.Row{
					user("05", "Binh@example.com", "verified", time.Hour), user("04", "binh@example.com", "verified", 0),
				}},
				{Rule: schema.OneLiving, Rows: []schema.Row{
					sub("13", "01", "An@Example.com", "past_due", time.Hour), sub("14", "01", "An@Example.com", "active", time.Hour),
				}},
				{Rule: schema.OneLiving, Rows: []schema.Row{
					sub("12", "04", "binh@example.com", "active", 2*time.Hour), sub("11", "04", "binh@example.com", "trialing", time.Hour),
				}},
			}
			got, err := schema.Obstacles(ctx, db)
			require.NoError(t, err)
			require.Equal(t, want, got)

			_, err = schema.Up(ctx, db)
			var refused *schema.ObstaclesError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, want, refused.Obstacles)
			require.EqualError(t, err, "schema: rows are in the way: 2 × living users whose names differ only in the case of letters"+
				" (5 rows), 2 × living subscriptions of one user (4 rows); `api migrate status` lists them")

			// Following the remedies is enough.
			exec(t, db, "UPDATE users SET deleted_at = $1 WHERE id IN ('"+id("02")+"', '"+id("05")+"')", day)
			exec(t, db, "UPDATE users SET username = 'an.2@example.com' WHERE id = '"+id("03")+"'")
			exec(t, db, "UPDATE subscriptions SET status = 'cancelled' WHERE id = '"+id("11")+"'")
			exec(t, db, "UPDATE subscriptions SET deleted_at = $1 WHERE id = '"+id("13")+"'", day)
			_, err = schema.Up(ctx, db)
			require.NoError(t, err)
			got, err = schema.Obstacles(ctx, db)
			require.NoError(t, err)
			require.Empty(t, got, "an applied step has no obstacles")
		})
	})

	// An empty database has none, and stays empty.
	t.Run("changes nothing, as Status does not", func(t *testing.T) {
		t.Parallel()
		look := func(t *testing.T, db *database.DB, tables string) {
			got, err := schema.Obstacles(context.Background(), db)
			require.NoError(t, err)
			require.Empty(t, got)
			status, err := schema.Status(context.Background(), db)
			require.NoError(t, err)
			require.NotEmpty(t, status)
			for _, s := range status {
				require.True(t, s.AppliedAt.IsZero())
			}
			name, err := schema.Down(context.Background(), db)
			require.NoError(t, err)
			require.Empty(t, name)
			require.Zero(t, count(t, db, tables))
		}
		t.Run("sqlite", func(t *testing.T) {
			t.Parallel()
			db, err := database.Open(database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "test.db")})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			look(t, db, "SELECT count(*) FROM sqlite_master")
		})
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			t.Parallel()
			look(t, connect(t, url), "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
		})
	})
}

func refuse(t *testing.T, url string) {
	ctx := context.Background()
	db := connect(t, url)
	exec(t, db, previousRelease)
	exec(t, db, "INSERT INTO users (username) VALUES ('an@example.com')")
	before := catalog(t, db)
	_, err := schema.Up(ctx, db)
	var refused *schema.ObstaclesError
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Obstacles, 1)
	require.NotContains(t, err.Error(), "xample", "addresses do not get into logs")
	require.Equal(t, before, catalog(t, db), "not even a table of the migration tool")
	require.Error(t, schema.Current(ctx, db))
}

// catalog returns every column and index of the database.
func catalog(t *testing.T, db *database.DB) string {
	t.Helper()
	var all string
	require.NoError(t, db.Conn(context.Background()).QueryRowContext(context.Background(), `
		SELECT string_agg(what, E'\n' ORDER BY what) FROM (
			SELECT concat_ws(' ', table_name, column_name, data_type, column_default, is_nullable) AS what
			FROM information_schema.columns WHERE table_schema = current_schema()
			UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()) AS everything`).Scan(&all))
	return all
}

func count(t *testing.T, db *database.DB, query string) (n int) {
	t.Helper()
	require.NoError(t, db.Conn(context.Background()).QueryRowContext(context.Background(), query).Scan(&n))
	return n
}
