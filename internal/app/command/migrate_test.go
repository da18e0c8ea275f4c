package command_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/app/command"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// api runs the binary's command line and returns what it prints.
func api(args ...string) (output string, err error) {
	root := command.API()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(args)
	err = root.Execute()
	return out.String(), err
}

// onPostgres runs test on an empty database, which is that of the commands as well. Not parallel: they read the
// environment.
func onPostgres(t *testing.T, test func(t *testing.T, exec func(query string))) {
	schematest.OnPostgres(t, func(t *testing.T, address string) {
		u, err := url.Parse(address)
		require.NoError(t, err)
		t.Setenv("POSTGRES_DB", u.Path[1:])
		db, err := database.Open(database.Options{Dialect: database.Postgres, DSN: address})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		test(t, func(query string) {
			_, err := db.Conn(context.Background()).ExecContext(context.Background(), query)
			require.NoError(t, err)
		})
	})
}

func TestMigrateListsRowsInTheWay(t *testing.T) {
	onPostgres(t, func(t *testing.T, exec func(string)) {
		exec(schematest.PreviousRelease + `
			INSERT INTO users (id, username, password_hash, role_hash, is_active, created_at) VALUES
				('019c1000-0000-7000-8000-000000000001', 'An@Example.com', 'hash', 'role', true, '2025-03-01 08:00:00+00'),
				('019c1000-0000-7000-8000-000000000002', 'an@example.com', 'hash', 'role', NULL, '2025-03-02 08:00:00+00')`)

		out, err := api("migrate", "status")
		steps, rows, _ := strings.Cut(out, "\n\n")
		require.EqualError(t, err, fmt.Sprintf("%d steps are pending, and rows are in their way; change those, then run `api migrate up`",
			strings.Count(steps+"\n", " pending\n")))
		require.Contains(t, steps, "00001_previous_release.sql               pending\n")
		require.Equal(t, `in the way: 2 living users whose names differ only in the case of letters
  user 019c1000-0000-7000-8000-000000000001 "An@Example.com", verified, since 2025-03-01 08:00:00
  user 019c1000-0000-7000-8000-000000000002 "an@example.com", not verified, since 2025-03-02 08:00:00
  -> one of them can keep the name: change users.username of the others, or set their deleted_at

odd, but not in the way: users without is_active (1)
  user 019c1000-0000-7000-8000-000000000002 "an@example.com"
  -> they count as not verified: at their next login they get a code
`, rows)

		out, err = api("migrate", "up")
		require.ErrorContains(t, err, "`api migrate status` lists them")
		require.NotContains(t, err.Error(), "xample.com")
		require.Empty(t, out)

		exec("UPDATE users SET deleted_at = now(), username = 'binh@example.com' WHERE username = 'an@example.com'")
		out, err = api("migrate", "up")
		require.NoError(t, err)
		require.Contains(t, out, "applied 00003_fanout_migration.sql")
		out, err = api("migrate", "status")
		require.NoError(t, err)
		require.NotContains(t, out, "pending")
		require.NotContains(t, out, "\nin the way")
	})
}

func TestMigrateListsOddRows(t *testing.T) {
	onPostgres(t, func(t *testing.T, exec func(string)) {
		_, err := api("migrate", "up")
		require.NoError(t, err)
		exec(`INSERT INTO users (id, username, password_hash, role_hash) SELECT ('019c1000-0000-7000-8000-0000000001' || n)::uuid,
			'foo..' || n || '@example.com', 'hash', 'role' FROM generate_series(10, 31) n;
			UPDATE users SET username = 'foo' WHERE username = 'foo..31@example.com'`)
		out, err := api("migrate", "status")
		require.NoError(t, err, "which stops nothing")
		require.Contains(t, out, `
odd, but not in the way: users who cannot be found by their address (1)
  user 019c1000-0000-7000-8000-000000000131 "foo"
  -> nobody can log in as they are: change users.username

odd, but not in the way: users with an address that could not be registered today (21)
  user 019c1000-0000-7000-8000-000000000110 "foo..10@example.com"
`)
		require.Contains(t, out, `
  user 019c1000-0000-7000-8000-000000000129 "foo..29@example.com"
  and 1 more
  -> they log in`)
	})
}

func TestMigrateCountsDueSubscriptions(t *testing.T) {
	onPostgres(t, func(t *testing.T, exec func(string)) {
		exec(schematest.PreviousRelease + `
			INSERT INTO users (id, username, password_hash, role_hash, is_active) SELECT ('019c1000-0000-7000-8000-00000000010' || n)::uuid,
				'u' || n || '@example.com', 'hash', 'role', true FROM generate_series(1, 4) n;
			INSERT INTO plans (id, name, code) VALUES ('019c1000-0000-7000-8000-000000000003', 'Free', 'free');
			INSERT INTO subscriptions (user_id, plan_id, status, starts_at, trial_ends_at, ends_at, updated_at) VALUES
				('019c1000-0000-7000-8000-000000000101', '019c1000-0000-7000-8000-000000000003', 'trialing', now() - interval '40 days', now() - interval '26 days', NULL, NULL),
				('019c1000-0000-7000-8000-000000000102', '019c1000-0000-7000-8000-000000000003', 'active', now() - interval '40 days', NULL, now() - interval '1 day', NULL),
				('019c1000-0000-7000-8000-000000000103', '019c1000-0000-7000-8000-000000000003', 'past_due', now() - interval '40 days', NULL, NULL, now() - interval '15 days'),
				('019c1000-0000-7000-8000-000000000104', '019c1000-0000-7000-8000-000000000003', 'active', now() - interval '40 days', NULL, NULL, NULL)`)
		const want = "ended, and not expired yet: 3 subscriptions, 1 of them more than 7 days ago\n"
		out, err := api("migrate", "status")
		require.ErrorContains(t, err, "pending")
		require.Contains(t, out, want)
		_, err = api("migrate", "up")
		require.NoError(t, err)
		out, err = api("migrate", "status")
		require.NoError(t, err)
		require.Contains(t, out, want)
	})
}

func TestMigrateDownListsRowsInTheWay(t *testing.T) {
	onPostgres(t, func(t *testing.T, exec func(string)) {
		_, err := api("migrate", "up")
		require.NoError(t, err)
		exec(`INSERT INTO users (id, username, is_active, created_at, deleted_at) VALUES
			('019c1000-0000-7000-8000-000000000001', 'an@example.com', true, '2025-03-01 08:00:00+00', '2025-04-01 08:00:00+00'),
			('019c1000-0000-7000-8000-000000000002', 'an@example.com', true, '2025-05-01 08:00:00+00', NULL)`)
		for out := ""; out != "took back 00003_fanout_migration.sql\n"; {
			out, err = api("migrate", "down")
			require.NoError(t, err)
			require.Regexp(t, `^took back \d{5}_.+\.sql\n$`, out)
		}

		out, err := api("migrate", "down")
		require.ErrorContains(t, err, "`api migrate down` lists them")
		require.Equal(t, `
in the way: 2 users with the same name, deleted ones included
  user 019c1000-0000-7000-8000-000000000001 "an@example.com", deleted, since 2025-03-01 08:00:00
  user 019c1000-0000-7000-8000-000000000002 "an@example.com", verified, since 2025-05-01 08:00:00
  -> the previous release gives a name away only once: change users.username of the deleted ones
`, out)

		exec("UPDATE users SET username = id::text WHERE deleted_at IS NOT NULL")
		out, err = api("migrate", "down")
		require.NoError(t, err)
		require.Equal(t, "took back 00002_codes_outbox_ledger.sql\n", out)
	})
}
