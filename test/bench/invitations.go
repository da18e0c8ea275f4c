package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	inviteCount = invitation.MaxInvitations
	// inviteRows is how many rows the bare side has in one statement, as many as ours.
	inviteRows = 500
	// invitePairs is enough for rows of ten seconds and more.
	invitePairs = 3
	uploadMost  = 16 << 20
	uploadAim   = 100_000_000 // bytes of memory, whatever the upload
)

// invitationBench is an api that takes uploads of an administrator's.
type invitationBench struct {
	*service
	admin   *client
	adminID string
	bare    *sql.DB
	upload  string  // the next one
	rows    []table // what an upload leaves behind, for the bare side
}

// table is rows of one table, in the order in which they can be inserted.
type table struct {
	name    string
	columns []string
	values  [][]any
}

// benchInvitations measures an upload of 100,000 addresses to the api, until its 202, beside bare multi-row inserts of the
// very rows that it leaves behind, in one transaction; and the memory the api needs at most for the largest upload.
func benchInvitations(ctx context.Context, s settings, t *tables) error {
	s.pairs = min(s.pairs, invitePairs)
	folder, removeBinaries, err := buildBinaries(ctx)
	if err != nil {
		return err
	}
	defer removeBinaries()
	b, err := startInvitationBench(ctx, s, folder)
	defer b.close()
	if err != nil {
		return err
	}
	if err := b.learnRows(ctx); err != nil {
		return err
	}
	err = comparison{
		what: "invitations accepted, PostgreSQL; bare: multi-row inserts of the same rows", n: inviteCount, aim: 0.5,
		prepare: func(ctx context.Context) error { b.upload = addresses(0); return b.clear(ctx) },
		ours:    timed(func(ctx context.Context) error { return b.send(ctx, inviteCount) }),
		bare:    timed(b.insert),
		verify:  b.verify,
	}.interleave(ctx, s, t)
	if err != nil {
		return err
	}
	b.rows = nil
	return b.measureMemory(ctx, s, folder, t)
}

func startInvitationBench(ctx context.Context, s settings, folder string) (b *invitationBench, err error) {
	b = &invitationBench{}
	b.service, err = startService(ctx, s, folder, func(e environment) error {
		e["INVITATIONS_PER_SECOND"] = "1" // the mails themselves are measured elsewhere
		return nil
	})
	if err != nil {
		return b, err
	}
	own := s.stack.Postgres
	own.Database = b.env["POSTGRES_DB"]
	if b.bare, err = sql.Open("pgx", own.DSN()); err != nil {
		return b, err
	}
	b.admin, b.adminID, err = b.administrator(ctx, "admin@example.com")
	return b, err
}

func (b *invitationBench) close() {
	if b.bare != nil {
		_ = b.bare.Close()
	}
	if b.service != nil {
		b.service.close()
	}
}

// addresses is CSV with inviteCount of them that nobody has, each at least so long.
func addresses(long int) string {
	var csv strings.Builder
	csv.WriteString("email\n")
	part := strings.ReplaceAll(uuid.NewString(), "-", "")[:16]
	for i := range inviteCount {
		local := fmt.Sprintf("person-%s-%d", part, i)
		domain := "example.com"
		for len(local)+1+len(domain) < long { // a label has up to 63 bytes
			domain = strings.Repeat("x", min(60, max(1, long-len(local)-len(domain)-2))) + "." + domain
		}
		csv.WriteString(local + "@" + domain + "\n")
	}
	return csv.String()
}

// send uploads, and fails unless so many are accepted.
func (b *invitationBench) send(ctx context.Context, accepted int) error {
	raw, _, err := b.admin.call(ctx, http.MethodPost, "/users/invitations", http.StatusAccepted, b.upload, "Content-Type", "text/csv")
	if err != nil {
		return err
	}
	var answer struct {
		Data struct {
			Accepted int `json:"accepted"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	if answer.Data.Accepted != accepted {
		return fmt.Errorf("%d addresses were accepted, not %d: %.300s", answer.Data.Accepted, accepted, raw)
	}
	return nil
}

// clear empties the tables, so that each side begins with the same.
func (b *invitationBench) clear(ctx context.Context) error {
	for _, statement := range []string{
		"TRUNCATE outbox", "CREATE TABLE kept AS SELECT * FROM users WHERE id = '" + b.adminID + "'",
		"TRUNCATE users, mail_pace CASCADE", "INSERT INTO users SELECT * FROM kept", "DROP TABLE kept",
	} {
		if _, err := b.bare.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// learnRows uploads once and reads what that has left behind.
func (b *invitationBench) learnRows(ctx context.Context) error {
	b.upload = addresses(0)
	if err := b.send(ctx, inviteCount); err != nil {
		return err
	}
	for _, query := range []struct{ table, where string }{
		{"users", "id <> '" + b.adminID + "'"}, {"invitation_batches", "true"}, {"invitations", "true"}, {"outbox", "batch_id IS NOT NULL"},
	} {
		rows, err := b.read(ctx, query.table, query.where)
		if err != nil {
			return fmt.Errorf("reading %s: %w", query.table, err)
		}
		b.rows = append(b.rows, rows)
	}
	return nil
}

func (b *invitationBench) read(ctx context.Context, name, where string) (table, error) {
	out := table{name: name}
	rows, err := b.bare.QueryContext(ctx, "SELECT * FROM "+name+" WHERE "+where+" ORDER BY id") //nolint:gosec // G202: our own text
	if err != nil {
		return out, err
	}
	defer rows.Close()
	if out.columns, err = rows.Columns(); err != nil {
		return out, err
	}
	for rows.Next() {
		values, into := make([]any, len(out.columns)), make([]any, len(out.columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return out, err
		}
		out.values = append(out.values, values)
	}
	return out, rows.Err()
}

// insert writes the same rows with nothing around them.
func (b *invitationBench) insert(ctx context.Context) error {
	tx, err := b.bare.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, t := range b.rows {
		for from := 0; from < len(t.values); from += inviteRows {
			chunk := t.values[from:min(from+inviteRows, len(t.values))]
			args := make([]any, 0, len(chunk)*len(t.columns))
			for _, values := range chunk {
				args = append(args, values...)
			}
			text := "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ") VALUES " + database.Rows(len(chunk), len(t.columns)) //nolint:gosec // G202: our own names
			if _, err := tx.ExecContext(ctx, text, args...); err != nil {
				return errors.Join(fmt.Errorf("%s: %w", t.name, err), tx.Rollback())
			}
		}
	}
	return tx.Commit()
}

// verify counts. Some mails have left meanwhile.
func (b *invitationBench) verify(ctx context.Context) error {
	var users, invitations, rows int
	err := b.bare.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM invitations),
		(SELECT count(*) FROM outbox WHERE batch_id IS NOT NULL)`).Scan(&users, &invitations, &rows)
	if err == nil && (users != inviteCount+1 || invitations != inviteCount || rows < inviteCount*99/100) {
		err = fmt.Errorf("there are %d users, %d invitations and %d outbox rows", users, invitations, rows)
	}
	return err
}

// measureMemory uploads 16 MiB twice to an api that has done nothing before: all lines good, and all lines bad.
func (b *invitationBench) measureMemory(ctx context.Context, s settings, folder string, t *tables) error {
	fresh, err := startInvitationBench(ctx, s, folder)
	defer fresh.close()
	if err != nil {
		return err
	}
	api := fresh.processes[0]
	_, before, err := api.memory()
	if err != nil {
		return err
	}
	var most [2]int64
	each := uploadMost/inviteCount - 2
	for i, upload := range []string{addresses(each), strings.ReplaceAll(addresses(each), "@", "?")} {
		fresh.upload = upload
		accepted := []int{inviteCount, 0}[i]
		if err := fresh.send(ctx, accepted); err != nil {
			return err
		}
		if _, most[i], err = api.memory(); err != nil {
			return err
		}
	}
	t.notes = append(t.notes, fmt.Sprintf(
		"memory of the api at most: %s before; %s after %s of 100,000 good lines; %s after as much of bad ones (aim: < %s, %s)",
		mib(before), mib(most[0]), mib(int64(len(fresh.upload))), mib(most[1]), mib(uploadAim), met(true, most[1] < uploadAim)))
	return nil
}
