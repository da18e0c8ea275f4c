package schema_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
)

// upBehind starts a transaction of the previous release with statement, and a migration that has to wait for it.
func upBehind(t *testing.T, db *database.DB, statement string) (tx *sql.Tx, up <-chan error) {
	t.Helper()
	return behind(t, db, statement, func(ctx context.Context) error {
		_, err := schema.Up(ctx, db)
		return err
	})
}

func behind(
	t *testing.T, db *database.DB, statement string, migrate func(context.Context) error,
) (tx *sql.Tx, migrated <-chan error) {
	t.Helper()
	ctx := context.Background()
	tx, err := db.Pool().BeginTx(ctx, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	_, err = tx.ExecContext(ctx, statement)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- migrate(ctx) }()
	require.Eventually(t, func() bool {
		return count(t, db, "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"+
			" WHERE NOT l.granted AND l.locktype = 'relation' AND d.datname = current_database()") > 0
	}, 20*time.Second, time.Millisecond, "the migration waits")
	return tx, done
}

// previousReleaseWorks registers username, verifies it and deletes it again, as pods of the previous release do.
func previousReleaseWorks(t *testing.T, db *database.DB, username string) {
	t.Helper()
	ctx := context.Background()
	q := db.Conn(ctx)
	var userID, planID, subscriptionID string
	require.NoError(t, q.QueryRowContext(ctx, `INSERT INTO users
		(username, full_name, password_hash, avatar_url, is_active, otp, otp_expired_at, role_hash, created_at, updated_at, deleted_at)
		VALUES ($1, NULL, '$2a$10$abc', NULL, false, NULL, NULL, NULL, NULL, NULL, NULL) RETURNING id`, username).Scan(&userID))
	_, err := q.ExecContext(ctx, "INSERT INTO users (username) VALUES ($1)", username)
	require.True(t, db.Dialect().IsUniqueViolation(err), "%v", err)
	exec(t, db, "UPDATE users SET otp = '012345', otp_expired_at = now() + interval '24 hours', updated_at = now() WHERE id = $1", userID)

	var found, otp, hash string
	var valid bool
	require.NoError(t, q.QueryRowContext(ctx, `SELECT id, otp, otp_expired_at > now(), password_hash FROM users
		WHERE username = $1 AND deleted_at IS NULL LIMIT 1`, username).Scan(&found, &otp, &valid, &hash))
	require.Equal(t, []any{userID, "012345", true, "$2a$10$abc"}, []any{found, otp, valid, hash})

	exec(t, db, "UPDATE users SET is_active = true, updated_at = now() WHERE id = $1", userID)
	require.NoError(t, q.QueryRowContext(ctx, "SELECT id FROM plans WHERE code = 'free' AND deleted_at IS NULL").Scan(&planID))
	require.NoError(t, q.QueryRowContext(ctx, `INSERT INTO subscriptions
		(user_id, plan_id, status, trial_ends_at, starts_at, ends_at, cancelled_at, created_at, updated_at, deleted_at)
		VALUES ($1, $2, 'trialing', now() + interval '14 days', now(), NULL, NULL, NULL, NULL, NULL) RETURNING id`,
		userID, planID).Scan(&subscriptionID))
	exec(t, db, "UPDATE subscriptions SET status = 'active', ends_at = now() + interval '1 year', updated_at = now() WHERE id = $1", subscriptionID)
	exec(t, db, "UPDATE subscriptions SET status = 'cancelled', cancelled_at = now() WHERE id = $1", subscriptionID)
	exec(t, db, "UPDATE subscriptions SET deleted_at = now() WHERE id = $1", subscriptionID)
	exec(t, db, "UPDATE users SET deleted_at = now() WHERE id = $1", userID)
	err = q.QueryRowContext(ctx, "SELECT id FROM users WHERE username = $1 AND deleted_at IS NULL", username).Scan(&found)
	require.True(t, database.IsNotFound(err), "%v", err)
}
