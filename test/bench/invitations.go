package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/test/harness"
)

const (
	inviteCount = invitation.MaxInvitations
	// inviteRows is how many rows the bare side has in one statement, as many as ours.
	inviteRows = 500
	// invitePairs is enough for sides that take seconds.
	invitePairs = 3
	uploadSize  = 16 << 20
	memoryAim   = 100_000_000 // bytes
)

// invitationBench is an api that takes uploads of an administrator.
type invitationBench struct {
	*harness.System
	admin *person
	left  []tableRows // what an upload leaves behind, for the bare side
}

// tableRows are rows of one table.
type tableRows struct {
	name    string
	columns []string
	values  [][]any
}

// invitations measures an upload of 100,000 addresses to the api, until its 202, beside bare multi-row inserts of the
// very rows that it leaves behind, in one transaction; and the memory the api needs at most for the largest upload.
func (b *bench) invitations(ctx context.Context) error {
	pairs := b.pairs
	defer func() { b.pairs = pairs }()
	b.pairs = min(b.pairs, invitePairs)
	i, err := b.startInvitations(ctx)
	if err != nil {
		return err
	}
	if err := i.learnRows(ctx); err != nil {
		return err
	}
	var upload string
	err = b.compare(ctx, comparison{
		what:    "invitations accepted, PostgreSQL; bare: multi-row inserts of the same rows",
		n:       inviteCount,
		aim:     0.5,
		prepare: func(ctx context.Context) error { upload = addresses(inviteCount, 0); return i.clear(ctx) },
		ours:    timed(func(ctx context.Context) error { return i.admin.invite(ctx, upload, inviteCount) }),
		bare:    timed(i.insert),
		verify:  i.verify,
	})
	if err != nil {
		return err
	}
	return b.uploadMemory(ctx)
}

func (b *bench) startInvitations(ctx context.Context) (*invitationBench, error) {
	s, err := b.startService(ctx, "INVITATIONS_PER_SECOND=1") // the mails themselves are measured elsewhere
	if err != nil {
		return nil, err
	}
	admin, err := b.newAdministrator(ctx, s, "admin@example.com")
	return &invitationBench{System: s, admin: admin}, err
}

// addresses is CSV with n addresses that nobody has, each at least so long.
func addresses(n, long int) string {
	var csv strings.Builder
	csv.WriteString("email\n")
	batch := strings.ReplaceAll(uuid.NewString(), "-", "")[:16]
	for i := range n {
		local, domain := fmt.Sprintf("person-%s-%d", batch, i), "example.com"
		for len(local)+1+len(domain) < long { // a label has up to 63 bytes
			domain = strings.Repeat("x", min(60, max(1, long-len(local)-len(domain)-2))) + "." + domain
		}
		csv.WriteString(local + "@" + domain + "\n")
	}
	return csv.String()
}

// invite uploads a list of addresses. It fails unless so many are accepted.
func (p *person) invite(ctx context.Context, csv string, accepted int) error {
	a, err := harness.Expect(http.StatusAccepted)(
		p.Call(ctx, http.MethodPost, "/users/invitations", csv, "Content-Type", "text/csv"))
	if err != nil {
		return err
	}
	var data struct {
		Accepted int `json:"accepted"`
	}
	err = json.Unmarshal(a.Data, &data)
	if err == nil && data.Accepted != accepted {
		err = fmt.Errorf("%d addresses were accepted, not %d: %.300s", data.Accepted, accepted, a.Raw)
	}
	return err
}

// clear empties the tables, so that each side begins with the same.
func (i *invitationBench) clear(ctx context.Context) error {
	_, err := i.DB.ExecContext(ctx, `TRUNCATE outbox, mail_deliveries;
		CREATE TABLE kept AS SELECT * FROM users WHERE username = 'admin@example.com';
		TRUNCATE users, mail_pace CASCADE; INSERT INTO users SELECT * FROM kept; DROP TABLE kept`)
	return err
}

// learnRows uploads once and reads what that leaves behind, in the order in which it can be inserted.
func (i *invitationBench) learnRows(ctx context.Context) error {
	if err := i.admin.invite(ctx, addresses(inviteCount, 0), inviteCount); err != nil {
		return err
	}
	for _, source := range []struct{ table, query string }{
		{"users", "SELECT * FROM users WHERE username <> 'admin@example.com' ORDER BY id"},
		{"invitation_batches", "SELECT * FROM invitation_batches ORDER BY id"},
		{"invitations", "SELECT * FROM invitations ORDER BY id"},
		{"outbox", "SELECT * FROM outbox WHERE batch_id IS NOT NULL ORDER BY id"},
		{"mail_deliveries", "SELECT * FROM mail_deliveries WHERE kind = 'invitation' ORDER BY event_id"},
	} {
		rows, err := i.DB.QueryContext(ctx, source.query)
		if err != nil {
			return err
		}
		left, err := readRows(rows)
		if err != nil {
			return fmt.Errorf("reading %s: %w", source.table, err)
		}
		left.name = source.table
		i.left = append(i.left, left)
	}
	return nil
}

func readRows(rows *sql.Rows) (out tableRows, err error) {
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
func (i *invitationBench) insert(ctx context.Context) error {
	tx, err := i.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, t := range i.left {
		for chunk := range slices.Chunk(t.values, inviteRows) {
			text := fmt.Sprintf("INSERT INTO %s (%s) VALUES %s", //nolint:gosec // G201: names of our own tables
				t.name, strings.Join(t.columns, ", "), database.Rows(len(chunk), len(t.columns)))
			if _, err := tx.ExecContext(ctx, text, slices.Concat(chunk...)...); err != nil {
				return errors.Join(fmt.Errorf("%s: %w", t.name, err), tx.Rollback())
			}
		}
	}
	return tx.Commit()
}

// verify counts. Some mails have left meanwhile.
func (i *invitationBench) verify(ctx context.Context) error {
	var users, invitations, rows int
	err := i.DB.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM invitations),
		(SELECT count(*) FROM outbox WHERE batch_id IS NOT NULL)`).Scan(&users, &invitations, &rows)
	if err == nil && (users != inviteCount+1 || invitations != inviteCount || rows < inviteCount*99/100) {
		err = fmt.Errorf("there are %d users, %d invitations and %d outbox rows", users, invitations, rows)
	}
	return err
}

// uploadMemory uploads 16 MiB twice to an api that has done nothing before: all lines good, and all lines bad.
func (b *bench) uploadMemory(ctx context.Context) error {
	i, err := b.startInvitations(ctx)
	if err != nil {
		return err
	}
	good := addresses(inviteCount, uploadSize/inviteCount-2)
	bad := strings.ReplaceAll(good, "@", "?")
	_, before, errBefore := i.APIs[0].Memory()
	errGood := i.admin.invite(ctx, good, inviteCount)
	_, afterGood, errAfterGood := i.APIs[0].Memory()
	errBad := i.admin.invite(ctx, bad, 0)
	_, afterBad, errAfterBad := i.APIs[0].Memory()
	b.report.note("memory of the api at most: %s before; %s after %s of 100,000 good lines; "+
		"%s after as much of bad ones (aim: < %s, %s)",
		mib(before), mib(afterGood), mib(int64(len(good))), mib(afterBad), mib(memoryAim), met(afterBad < memoryAim))
	return errors.Join(errBefore, errGood, errAfterGood, errBad, errAfterBad)
}
