package command

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
)

// An operator's morning, on the database of a standalone that does not run.
func TestOperate(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DATA_DIR", dir)
	db, err := database.Open(database.Options{Dialect: database.SQLite, DSN: filepath.Join(dir, "identity.db")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = schema.Up(t.Context(), db)
	require.NoError(t, err)
	users := sqldb.NewUsers(db)
	now := time.Now().UTC()
	for email, role := range map[string]authentication.Role{
		"an@example.com": authentication.RoleUser, "chi@example.com": authentication.RoleAdmin,
	} {
		require.NoError(t, users.Create(t.Context(), authentication.User{
			ID: uuid.NewString(), Email: email, Role: role, Active: true, PasswordHash: "hash", CreatedAt: now, UpdatedAt: now,
		}))
	}
	does := func(want string, args ...string) {
		t.Helper()
		out, err := run(Standalone(), args...)
		require.NoError(t, err, out)
		require.Contains(t, out, want)
	}
	fails := func(want string, args ...string) {
		t.Helper()
		out, err := run(Standalone(), args...)
		require.ErrorContains(t, err, want, out)
	}

	fails(`"by" not set; see standalone user disable --help`, "user", "disable", "an@example.com")
	fails(`"by" not set; see standalone mail resend --help`, "mail", "resend", "an@example.com")
	fails("nobody waits for a code", "mail", "resend", "an@example.com", "--by", "binh")
	fails("--by is empty", "user", "disable", "an@example.com", "--by", "")
	fails("User not found", "user", "disable", "nobody@example.com", "--by", "binh")
	fails("not a valid e-mail", "user", "enable", "an", "--by", "binh")
	fails("--reason must not have control", "user", "disable", "an@example.com", "--by", "binh", "--reason", "a\x1b[31m")
	does("disabled", "user", "disable", " AN@example.com", "--by", "binh", "--reason", "fraud\n?")
	does("enabled", "user", "enable", "an@example.com", "--by", "binh")
	does("promoted", "user", "promote", "an@example.com", "--by", "binh")
	does("an@example.com", "user", "list", "--admins", "--by", "binh")
	does("an@example.com", "user", "show", "an@example.com", "--by", "binh")
	fails("--admins", "user", "list")
	does("demoted", "user", "demote", "chi@example.com", "--by", "binh")
	fails("last active administrator", "user", "demote", "an@example.com", "--by", "binh")
	fails("last active administrator", "user", "delete", "an@example.com", "--by", "binh")
	fails("name one address, or --all", "sessions", "end", "--by", "binh")
	fails("name one address, or --all", "sessions", "end", "an@example.com", "--all", "--by", "binh")
	does("ended", "sessions", "end", "an@example.com", "--by", "binh")
	does("0 sessions have ended", "sessions", "end", "--all", "--by", "binh")
	does("deleted", "user", "delete", "chi@example.com", "--by", "binh", "--reason", "asked for it")
	fails("User not found", "user", "enable", "chi@example.com", "--by", "binh")

	out, err := run(Standalone(), "audit", "--user", "an@example.com")
	require.NoError(t, err)
	require.NotContains(t, out, "\x1b")
	require.Equal(t, 5, strings.Count(out, "\n"), out)
	for _, part := range []string{"operator binh", "user.disabled", "fraud ?", "USER to ADMIN", "sessions.ended"} {
		require.Contains(t, out, part)
	}
	does("asked for it", "audit", "--action", "user.deleted", "--since", "2020-01-01T00:00:00Z", "--by", "binh")
	fails("there are [user.verified", "audit", "--action", "user.disbled")
	fails("--actor-id is no id", "audit", "--actor-id", "an@example.com")
	does("1 of 7 entries", "audit", "--limit", "1")
	fails("--until is not a time such as", "audit", "--until", "yesterday")
	does("asked for it", "audit", "--since", "2h")
	does("asked for it", "audit", "--since", time.Now().UTC().Format(time.DateOnly))
	out, err = run(Standalone(), "audit", "--until", "2h")
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(out, "\n"), out)
	fails("--limit is below 1", "audit", "--limit", "0")
	fails("--user-id", "audit", "--user", "chi@example.com")
}
