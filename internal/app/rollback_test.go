package app

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// An entry of the record shares the fate of what it records.
func TestRecordIsRolledBack(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		cfg := config.Config{
			Events:   config.Events{Phase: "complete"},
			Secrets:  config.Secrets{EventsSeal: bytes.Repeat([]byte{7}, 32), CodeHMAC: config.Key(codeKey)},
			Accounts: config.Accounts{EraseAfter: time.Hour},
		}
		o, err := NewOperator(t.Context(), config.API, cfg, db, zerolog.Nop(), "a test")
		require.NoError(t, err)
		const email = "an@example.com"
		now := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
		users := authsql.NewUsers(db)
		for _, u := range []authentication.User{
			{Email: email, Role: authentication.RoleUser}, {Email: admin, Role: authentication.RoleAdmin},
		} {
			u.ID, u.Active, u.PasswordHash, u.CreatedAt, u.UpdatedAt = uuid.NewString(), true, "hash", now, now
			require.NoError(t, users.Create(t.Context(), u))
		}
		count := func(table string) (n int) {
			require.NoError(t, db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
			return n
		}
		for i, change := range []struct {
			action audit.Action
			run    func(ctx context.Context) error
		}{
			{audit.UserRoleChanged, func(ctx context.Context) error { return o.ChangeRole(ctx, email, authentication.RoleAdmin) }},
			{audit.UserRoleChanged, func(ctx context.Context) error { return o.ChangeRole(ctx, email, authentication.RoleUser) }},
			{audit.UserDisabled, func(ctx context.Context) error { return o.Disable(ctx, email, "a test") }},
			{audit.UserEnabled, func(ctx context.Context) error { return o.Enable(ctx, email) }},
			{audit.SessionsEnded, func(ctx context.Context) error { return o.EndSessions(ctx, email) }},
			{audit.SessionsEnded, func(ctx context.Context) error { _, err := o.EndAllSessions(ctx); return err }},
			{audit.UserDeleted, func(ctx context.Context) error { return o.Delete(ctx, email, "a test") }},
			{audit.OutboxRetried, func(ctx context.Context) error { _, err := RetryOutbox(ctx, db, "a test"); return err }},
			{audit.StateRebuilt, func(ctx context.Context) error { return RecordOperation(ctx, db, "a test", audit.StateRebuilt, "", "") }},
		} {
			before, err := users.ByEmail(t.Context(), email)
			rows := []int{count("outbox"), count("mail_deliveries")}
			require.ErrorIs(t, db.WithinTx(t.Context(), func(ctx context.Context) error {
				require.NoError(t, change.run(ctx))
				return errRolledBack
			}), errRolledBack)
			require.Equal(t, i, count("audit_entries"), "%s leaves no entry", change.action)
			require.Equal(t, rows, []int{count("outbox"), count("mail_deliveries")})
			after, again := users.ByEmail(t.Context(), email)
			require.Equal(t, err, again)
			require.Equal(t, before, after)

			require.NoError(t, change.run(t.Context()))
			entries, total, err := o.Audit(t.Context(), "", audit.Filter{Limit: 1})
			require.NoError(t, err)
			require.Equal(t, i+1, total)
			require.Equal(t, change.action, entries[0].Action)
			require.Equal(t, "a test", entries[0].Operator)
		}
	})
}
