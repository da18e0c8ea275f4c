package schema_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	auditsql "github.com/smap-platform/identity/internal/audit/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/event/outbox"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/internal/subscription"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	// grownTo is how many rows each table has, and mostRead how many an operation may read of them.
	grownTo  = 20_000
	mostRead = 300
)

// grownID is the id that schematest.Grow gives the n-th of its kind.
func grownID(kind string, n int) string {
	return uuid.UUID(md5.Sum(fmt.Appendf(nil, "%s%d", kind, n))).String()
}

// TestPlans counts the rows that are read, and not the time they take.
func TestPlans(t *testing.T) {
	t.Parallel()
	schematest.OnPostgres(t, func(t *testing.T, url string) {
		db, ctx := connect(t, url), context.Background()
		_, err := schema.Up(ctx, db)
		require.NoError(t, err)
		require.NoError(t, schematest.Grow(ctx, db.Conn(ctx), 0, grownTo, "key"))
		now := time.Now()
		exec(t, db, `INSERT INTO mail_deliveries (event_id, kind, state, attempts, message_id, created_at, updated_at)
			VALUES ('evt_owed', 'verification', 'owed', 0, 'message', now() - interval '30 days', now() - interval '30 days')`)
		exec(t, db, `INSERT INTO users (id, username, is_active, deleted_at, erased_at)
			SELECT i, i::text, true, now() - interval '60 days', now() FROM (SELECT gen_random_uuid() AS i FROM generate_series(1, 2000)) ids`)
		exec(t, db, "ANALYZE users")

		users, requests, limits := authsql.NewUsers(db), authsql.NewCodeRequests(db), authsql.NewLimits(db)
		sessions, erasure := authsql.NewSessions(db), authsql.NewErasure(db)
		ledger, entries := mailsql.NewLedger(db), auditsql.NewEntries(db)
		subscriptions := subscriptionsql.NewSubscriptions(db)
		due := subscriptionsql.NewDue(db, 14*subscription.Day)
		const n = 7
		id, email, digests := grownID("user", n), fmt.Sprintf("person%d@example.com", n), [][]byte{[]byte("digest")}
		tomorrow := subscription.Window{Since: now, Until: now.Add(subscription.Day)}
		soon := subscription.Window{Since: tomorrow.Until, Until: now.Add(3 * subscription.Day)}

		for name, read := range map[string]func(ctx context.Context) error{
			"a user by address":  func(ctx context.Context) error { _, err := users.LockByEmail(ctx, email); return err },
			"a session":          func(ctx context.Context) error { _, _, err := sessions.Lock(ctx, grownID("session", n)); return err },
			"sessions of a user": func(ctx context.Context) error { _, err := sessions.List(ctx, id, now, 100); return err },
			"requests of an address": func(ctx context.Context) error {
				_, err := requests.OfAddress(ctx, email, authentication.PurposeVerification)
				return err
			},
			"a request by event": func(ctx context.Context) error {
				_, err := requests.ByEvent(ctx, "evt_1")
				return ignore(err, authentication.ErrCodeNotFound)
			},
			"limits": func(ctx context.Context) error {
				_, err := limits.Lock(ctx, digests, now, authentication.LimitKey{Kind: authentication.LimitLogin})
				return err
			},
			"subscriptions of a user": func(ctx context.Context) error { _, err := subscriptions.LatestOf(ctx, id); return err },
			"mails to an address": func(ctx context.Context) error {
				_, err := ledger.To(ctx, now.Add(-time.Hour), digests, []string{"evt_1"})
				return err
			},
			"events in the outbox": func(ctx context.Context) error { _, err := outbox.Rows.Find(ctx, db, []string{"evt_1"}); return err },
			"rows of the outbox that are sealed with another key": func(ctx context.Context) error {
				loop := outbox.NewLoop(outbox.Rows, zerolog.Nop())
				loop.CheckKeys(ctx, db, []string{"key"})
				return loop.KeyError()
			},
			"lost mails": func(ctx context.Context) error {
				_, err := ledger.FailLost(ctx, now.Add(-7*subscription.Day), now)
				return err
			},

			"subscriptions that have ended": func(ctx context.Context) error {
				_, err := due.LockEnded(ctx, subscription.Window{Since: now.Add(-7 * subscription.Day), Until: now}, nil, 500)
				return err
			},
			"the next end": func(ctx context.Context) error {
				_, _, err := due.FirstEnd(ctx, subscription.Window{Since: now, Until: now.AddDate(1000, 0, 0)}, nil)
				return err
			},
			"trials to remind of, a day before":     func(ctx context.Context) error { _, err := due.LockToRemind(ctx, tomorrow, 1, nil, 500); return err },
			"trials to remind of, some days before": func(ctx context.Context) error { _, err := due.LockToRemind(ctx, soon, 3, nil, 500); return err },

			"users to erase": func(ctx context.Context) error {
				_, err := erasure.Due(ctx, now, authentication.DeletedUser{}, 100)
				return err
			},
			"erasing a user": func(ctx context.Context) error {
				return erasure.Erase(ctx, authentication.DeletedUser{ID: id, Email: email, Until: now})
			},
			"erasing the record of a user": func(ctx context.Context) error { return entries.EraseUser(ctx, id, email, now) },
			"erasing the mails to a user":  func(ctx context.Context) error { return ledger.EraseRecipient(ctx, digests, now) },

			"purging requests":       purging(requests.PurgeOlderThan, now.Add(-authentication.RequestKept)),
			"purging sessions":       purging(sessions.PurgeOlderThan, now.Add(-30*subscription.Day)),
			"purging limits":         purging(limits.Purge, now),
			"purging mails":          purging(ledger.PurgeOlderThan, now.Add(-30*subscription.Day)),
			"purging details":        purging(entries.PurgeDetails, now.AddDate(-1, 0, 0)),
			"purging completions":    purging(projectsql.NewCompletions(db).PurgeOlderThan, now.Add(-30*subscription.Day)),
			"purging unproven users": purging(users.PurgeProvisional, now),
		} {
			t.Run(name, func(t *testing.T) {
				err := db.WithinTx(ctx, func(ctx context.Context) error {
					before := rowsRead(t, ctx, db)
					require.NoError(t, read(ctx))
					for table, n := range rowsRead(t, ctx, db) {
						require.LessOrEqual(t, n-before[table], mostRead, "rows of %s that were read", table)
					}
					return errUndone
				})
				require.ErrorIs(t, err, errUndone)
			})
		}
	})
}

// rowsRead returns how many rows of each table this connection has read.
func rowsRead(t *testing.T, ctx context.Context, db *database.DB) map[string]int {
	t.Helper()
	rows, err := db.Conn(ctx).QueryContext(ctx,
		"SELECT relname, seq_tup_read + COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables")
	require.NoError(t, err)
	defer rows.Close()
	read := map[string]int{}
	for rows.Next() {
		var table string
		var n int
		require.NoError(t, rows.Scan(&table, &n))
		read[table] = n
	}
	require.NoError(t, rows.Err())
	return read
}

func purging(purge func(context.Context, time.Time) (int64, error), then time.Time) func(context.Context) error {
	return func(ctx context.Context) error { _, err := purge(ctx, then); return err }
}

// errUndone rolls a transaction back.
var errUndone = errors.New("undone")

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
