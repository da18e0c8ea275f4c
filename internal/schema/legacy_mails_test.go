package schema_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// texts returns every row of a query, its columns as text joined by spaces.
func texts(t *testing.T, db *database.DB, columns int, query string) (all []string) {
	t.Helper()
	rows, err := db.Conn(context.Background()).QueryContext(context.Background(), query)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		values, fields := make([]any, columns), make([]any, columns)
		for i := range fields {
			fields[i] = &values[i]
		}
		require.NoError(t, rows.Scan(fields...))
		texts := make([]string, columns)
		for i, v := range values {
			switch v := v.(type) {
			case []byte:
				texts[i] = string(v)
			case time.Time:
				texts[i] = v.UTC().Format(time.TimeOnly)
			default:
				texts[i] = fmt.Sprint(v)
			}
		}
		all = append(all, strings.Join(texts, " "))
	}
	require.NoError(t, rows.Err())
	return all
}

const (
	outboxRows = `SELECT event_id, exchange, routing_key, content_type,
		CASE WHEN mandatory AND sealed THEN 'mandatory,sealed' ELSE 'no' END, headers, body, event_time, created_at,
		available_at, lease_until, attempts, last_error, failed_at FROM outbox ORDER BY event_id`
	copyRows = `SELECT event_id, headers, body, event_time, created_at, available_at, lease_until, attempts, last_error,
		failed_at FROM legacy_mails ORDER BY event_id`
)

func TestLegacyMails(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		downThrough(t, db, "00006_legacy_mails.sql")

		t.Run("up moves the rows that wait, leases cleared, and leaves the others", func(t *testing.T) {
			insert := func(n, eventID, exchange string, single bool, lease, failed any) {
				exec(t, db, `INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, single, headers, body,
					sealed, event_time, created_at, available_at, lease_until, attempts, last_error, failed_at)
					VALUES ($1, $2, $3, '', 'text/plain', true, $4, '{"a":"1"}', 'sealed', true, $5, $6, $7, $8, 3, 'unroutable', $9)`,
					id(n), eventID, exchange, single, day, day.Add(time.Second), day.Add(time.Minute), lease, failed)
			}
			insert("01", "evt_due", "smtp_send_email_exc", true, nil, nil)
			insert("02", "evt_failed", "smtp_send_email_exc", true, nil, day.Add(time.Hour))
			insert("03", "evt_leased", "smtp_send_email_exc", true, day.Add(2*time.Hour), nil)
			insert("04", "evt_other", "smap.events", false, day.Add(2*time.Hour), nil)

			applied, err := schema.Up(ctx, db)
			require.NoError(t, err)
			require.Equal(t, "00006_legacy_mails.sql", applied[0])
			require.Equal(t, []string{
				`evt_due {"a":"1"} sealed 08:00:00 08:00:01 08:01:00 <nil> 3 unroutable <nil>`,
				`evt_failed {"a":"1"} sealed 08:00:00 08:00:01 08:01:00 <nil> 3 unroutable 09:00:00`,
				`evt_leased {"a":"1"} sealed 08:00:00 08:00:01 08:01:00 <nil> 3 unroutable <nil>`,
			}, texts(t, db, 10, copyRows))
			require.Equal(t, []string{
				`evt_other smap.events  text/plain mandatory,sealed {"a":"1"} sealed 08:00:00 08:00:01 08:01:00 10:00:00 3 unroutable <nil>`,
			}, texts(t, db, 14, outboxRows))
		})

		t.Run("down moves them back, whatever else waits", func(t *testing.T) {
			exec(t, db, "UPDATE legacy_mails SET lease_until = $1", day.Add(2*time.Hour))
			downThrough(t, db, "00006_legacy_mails.sql")
			copied := `smtp_send_email_exc  text/plain mandatory,sealed {"a":"1"} sealed 08:00:00 08:00:01 08:01:00 <nil> 3 unroutable `
			require.Equal(t, []string{
				"evt_due " + copied + "<nil>",
				"evt_failed " + copied + "09:00:00",
				"evt_leased " + copied + "<nil>",
				`evt_other smap.events  text/plain mandatory,sealed {"a":"1"} sealed 08:00:00 08:00:01 08:01:00 10:00:00 3 unroutable <nil>`,
			}, texts(t, db, 14, outboxRows))
			require.Equal(t, 3, count(t, db, "SELECT count(*) FROM outbox WHERE single"))

			_, err := schema.Down(ctx, db)
			require.ErrorIs(t, err, schema.ErrOutboxNotEmpty, "the steps before would lose what they are")
		})

		t.Run("and up again", func(t *testing.T) {
			_, err := schema.Up(ctx, db)
			require.NoError(t, err)
			require.Len(t, texts(t, db, 10, copyRows), 3)
			require.Len(t, texts(t, db, 14, outboxRows), 1)
		})
	})
}

// A copy that is being committed while the migration begins is moved as well.
func TestLegacyMailsWaitsForWhoIsCommitting(t *testing.T) {
	t.Parallel()
	schematest.OnPostgres(t, func(t *testing.T, url string) {
		db := connect(t, url)
		_, err := schema.Up(context.Background(), db)
		require.NoError(t, err)
		downThrough(t, db, "00006_legacy_mails.sql")
		tx, up := upBehind(t, db, `INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, single, headers,
			body, sealed, event_time, created_at, available_at)
			VALUES ('`+id("01")+`', 'evt_1', 'smtp_send_email_exc', '', 'text/plain', true, true, '{}', '', true, now(), now(), now())`)
		require.NoError(t, tx.Commit())
		require.NoError(t, <-up)
		require.Equal(t, 1, count(t, db, "SELECT count(*) FROM legacy_mails"))
		require.Zero(t, count(t, db, "SELECT count(*) FROM outbox"))
	})
}
