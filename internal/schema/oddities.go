package schema

import (
	"context"
	"fmt"

	"github.com/smap-platform/identity/pkg/database"
)

// MaxListed is how many rows of an [Oddity] are kept.
const MaxListed = 20

// Oddity is a kind of rows that the previous release's schema permits and this release would not write. It blocks no
// migration and no request.
type Oddity struct {
	Kind  string   // what the rows are, in the plural
	Note  string   // how this release treats them, and what can be done
	Count int      // how many there are
	Rows  []OddRow // the first of them, by id
}

// OddRow is one row of an [Oddity]. It is for the operator alone: never log it.
type OddRow struct{ Table, ID, Name string }

// Addresses judges the names of users.
type Addresses struct {
	// Found reports whether the user can be found by typing the address as it is stored.
	Found func(address string) bool
	// Valid reports whether the address could be registered today.
	Valid func(address string) bool
}

// oddKind finds the rows of an [Oddity]. Its query returns id and name, a text.
type oddKind struct {
	kind, note string
	table      string
	query      string
	odd        func(a Addresses, name string) bool // nil: every row of the query is
}

const livingUsers = "SELECT id, username FROM users WHERE deleted_at IS NULL"

var oddKinds = []oddKind{
	{
		"users who cannot be found by their address", "nobody can log in as they are: change users.username",
		"users", livingUsers,
		func(a Addresses, name string) bool { return !a.Found(name) },
	},
	{
		"users with an address that could not be registered today",
		"they log in and get codes; their mail server decides which mail it takes, and what is not ASCII gets none",
		"users", livingUsers,
		func(a Addresses, name string) bool { return a.Found(name) && !a.Valid(name) },
	},
	{
		"users without the time of their creation or last change",
		"read as the other one, or as 1970-01-01; `api migrate up` fills those that are there before 00008",
		"users", livingUsers + " AND (created_at IS NULL OR updated_at IS NULL)", nil,
	},
	{
		"users without a role", "they are plain users; `api user promote` makes an administrator",
		"users", livingUsers + " AND COALESCE(role_hash, '') = ''", nil,
	},
	{
		"users without is_active", "they count as not verified: at their next login they get a code",
		"users", livingUsers + " AND is_active IS NULL", nil,
	},
	{
		"verified users without a password", "nobody can log in as they are",
		"users", livingUsers + " AND is_active AND COALESCE(password_hash, '') = ''", nil,
	},
	{
		"plans without times or max_usage", "read as 1970-01-01 and 3; set them by hand where that is wrong",
		"plans", "SELECT id, code FROM plans WHERE deleted_at IS NULL AND (created_at IS NULL OR updated_at IS NULL OR max_usage IS NULL)", nil,
	},
	{
		"deleted plans with the code of the trial", "restored by the next trial",
		"plans", "SELECT id, code FROM plans WHERE deleted_at IS NOT NULL AND code = 'free'", nil,
	},
	{
		"subscriptions without the time of their creation or last change",
		"read as their start; `api migrate up` fills those that are there before 00008",
		"subscriptions", "SELECT id, status FROM subscriptions WHERE deleted_at IS NULL AND (created_at IS NULL OR updated_at IS NULL)", nil,
	},
}

// Oddities returns what is odd in the previous release's tables, migrated or not. It changes nothing.
func Oddities(ctx context.Context, db *database.DB, a Addresses) ([]Oddity, error) {
	ctx, cancel := context.WithTimeout(ctx, longest) // every user is looked at
	defer cancel()
	var all []Oddity
	for _, k := range oddKinds {
		exists, err := hasTable(ctx, db, k.table)
		if err != nil {
			return nil, err
		}
		if !exists {
			continue
		}
		found := Oddity{Kind: k.kind, Note: k.note}
		if err := k.each(ctx, db, func(id, name string) {
			if k.odd != nil && !k.odd(a, name) {
				return
			}
			if found.Count++; found.Count <= MaxListed {
				found.Rows = append(found.Rows, OddRow{k.table, id, name})
			}
		}); err != nil {
			return nil, fmt.Errorf("schema: looking for %s: %w", k.kind, err)
		}
		if found.Count > 0 {
			all = append(all, found)
		}
	}
	return all, nil
}

// each calls see for every row, holding none of them.
func (k oddKind) each(ctx context.Context, db *database.DB, see func(id, name string)) error {
	rows, err := db.Conn(ctx).QueryContext(ctx, k.query+" ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, name string
		if err := rows.Scan(&id, &name); err != nil {
			return err
		}
		see(id, name)
	}
	return rows.Err()
}
