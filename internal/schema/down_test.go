package schema_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/internal/subscription"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

// content returns every row of the previous release's tables, with the columns it knows.
func content(t *testing.T, db *database.DB) (all []string) {
	t.Helper()
	for _, query := range []string{
		`SELECT row_to_json(r)::text FROM (SELECT id, username, full_name, password_hash, avatar_url, is_active, otp, otp_expired_at,
			role_hash, created_at, updated_at, deleted_at FROM users ORDER BY id) r`,
		"SELECT row_to_json(r)::text FROM (SELECT * FROM plans ORDER BY id) r",
		`SELECT row_to_json(r)::text FROM (SELECT id, user_id, plan_id, status, trial_ends_at, starts_at, ends_at, cancelled_at,
			created_at, updated_at, deleted_at FROM subscriptions ORDER BY id) r`,
	} {
		rows, err := db.Conn(context.Background()).QueryContext(context.Background(), query)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var row string
			require.NoError(t, rows.Scan(&row))
			all = append(all, row)
		}
		require.NoError(t, rows.Err())
	}
	return all
}

// writeOurs registers a user with a trial through this release's repositories, and promotes one of the previous
// release.
func writeOurs(t *testing.T, db *database.DB) authentication.User {
	t.Helper()
	users, subscriptions := authsql.NewUsers(db), subscriptionsql.NewSubscriptions(db)
	u := authentication.User{
		ID: id("a1"), Email: "chi@example.com", FullName: "Chi", PasswordHash: "$2a$10$def", Role: authentication.RoleUser,
		Active: true, CreatedAt: day, UpdatedAt: day.Add(time.Minute),
	}
	require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
		old, err := users.LockByEmail(ctx, "an@example.com")
		require.NoError(t, err)
		old.Role, old.UpdatedAt = authentication.RoleAdmin, day
		require.NoError(t, users.Update(ctx, old))

		require.NoError(t, users.Create(ctx, u))
		require.NoError(t, authsql.NewCodeRequests(db).Save(ctx, authentication.CodeRequest{
			ID: id("a4"), Purpose: authentication.PurposeVerification, Email: u.Email, UserID: u.ID, CreatedAt: day,
			Code: authentication.Code{
				Digest: []byte("digest"), EventID: "evt_1",
				CreatedAt: day, ExpiresAt: day.Add(authentication.CodeLifetime), UsedAt: day.Add(time.Minute),
			},
		}))
		plan, err := subscriptionsql.NewPlans(db).Ensure(ctx, subscription.Plan{
			ID: id("a2"), Name: "Team", Code: "team", CreatedAt: day, UpdatedAt: day,
		})
		require.NoError(t, err)
		trial := subscription.NewTrial(id("a3"), u.ID, plan, day)
		trial.Version, err = subscriptions.NextVersion(ctx, u.ID)
		require.NoError(t, err)
		return subscriptions.Create(ctx, trial)
	}))
	exec(t, db, "UPDATE users SET otp = '012345', otp_expired_at = $2 WHERE id = $1", u.ID, day.Add(authentication.CodeLifetime))
	return u
}

func TestDown(t *testing.T) {
	t.Parallel()
	t.Run("keeps every user and subscription, and Up brings them back", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, thereAndBack)
	})

	// A name may be reused after its user was deleted, which the previous release's constraint forbids.
	t.Run("refuses to restore a constraint that rows break", func(t *testing.T) {
		t.Parallel()
		schematest.OnPostgres(t, func(t *testing.T, url string) {
			ctx := context.Background()
			db := connect(t, url)
			exec(t, db, previousRelease)
			_, err := schema.Up(ctx, db)
			require.NoError(t, err)
			addUser(t, db, id("21"), "gone@example.com", true, 0, nil)
			addUser(t, db, id("22"), "GONE@example.com", true, 0, day) // spelled otherwise: no obstacle
			downThrough(t, db, "00003_fanout_migration.sql")           // these steps have nothing to do with names

			before := catalog(t, db)
			_, err = schema.Down(ctx, db)
			var refused *schema.ObstaclesError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, []schema.Obstacle{{Rule: schema.NamesUsedTwice, Rows: []schema.Row{
				{UserID: id("21"), Username: "gone@example.com", State: "verified", Since: day},
				{UserID: id("02"), Username: "gone@example.com", State: "deleted", Since: day.AddDate(0, 0, 1)},
			}}}, refused.Obstacles)
			require.EqualError(t, err, "schema: rows are in the way: 1 × users with the same name, deleted ones included (2 rows);"+
				" `api migrate down` lists them")
			require.Equal(t, before, catalog(t, db))

			exec(t, db, "UPDATE users SET username = id::text WHERE deleted_at IS NOT NULL")
			_, err = schema.Down(ctx, db)
			require.NoError(t, err)
		})
	})
}

var created = regexp.MustCompile(`"created_at":(null|"[^"]*"),`)

func thereAndBack(t *testing.T, url string) {
	ctx := context.Background()
	db := connect(t, url)
	exec(t, db, previousRelease)
	old := catalog(t, db)
	_, err := schema.Up(ctx, db)
	require.NoError(t, err)
	u := writeOurs(t, db)
	previousReleaseWorks(t, db, "giang@example.com")
	before := content(t, db)
	require.Len(t, before, 5+2+4)

	back(t, db)
	require.Equal(t, before, content(t, db))
	exec(t, db, "DROP TABLE goose_db_version, goose_lock")
	require.Equal(t, old, catalog(t, db), "it is the database of the previous release again")
	previousReleaseWorks(t, db, "dung@example.com")
	_, err = db.Conn(ctx).ExecContext(ctx, "INSERT INTO users (username) VALUES ('gone@example.com')")
	require.True(t, db.Dialect().IsUniqueViolation(err), "which allows a name only once: %v", err)
	before = content(t, db)

	_, err = schema.Up(ctx, db)
	require.NoError(t, err)
	after := content(t, db)
	for i, row := range before { // the time of creation that its pods have left out is filled
		if strings.Contains(row, `"created_at":null`) {
			before[i], after[i] = created.ReplaceAllString(row, ""), created.ReplaceAllString(after[i], "")
		}
	}
	require.Equal(t, before, after)
	require.Zero(t, count(t, db, "SELECT count(*) FROM users WHERE created_at IS NULL"))
	got, err := authsql.NewUsers(db).ByEmail(ctx, u.Email)
	require.NoError(t, err)
	require.Equal(t, u, got)
	trial, err := subscriptionsql.NewSubscriptions(db).ByID(ctx, id("a3"))
	require.NoError(t, err)
	require.Equal(t, u.ID, trial.UserID)
}
