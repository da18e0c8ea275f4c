package schema

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/smap-platform/identity/pkg/database"
)

// Rule is what the rows of an Obstacle break, in words for the operator.
type Rule string

// The rules: the first two of the way up, the last of the way down.
const (
	NamesDiffer    Rule = "living users whose names differ only in the case of letters"
	OneLiving      Rule = "living subscriptions of one user"
	NamesUsedTwice Rule = "users with the same name, deleted ones included"
)

// Remedy returns what the operator can do about the rows.
func (r Rule) Remedy() string {
	switch r {
	case NamesDiffer:
		return "one of them can keep the name: change users.username of the others, or set their deleted_at"
	case OneLiving:
		return "one of them can stay: set the status of the others to cancelled or expired, or set their deleted_at"
	default:
		return "the previous release gives a name away only once: change users.username of the deleted ones"
	}
}

// Obstacle is a group of rows that break a rule together.
type Obstacle struct {
	Rule Rule
	Rows []Row // two or more, oldest first
}

// Row is one user of an [Obstacle], or one of their subscriptions. It is for the operator alone: never log it.
type Row struct {
	UserID         string
	Username       string    // as stored
	SubscriptionID string    // empty when the Rule is about users
	State          string    // verified, not verified or deleted; the status of a subscription
	Since          time.Time // when the user was created or the subscription starts
}

// ObstaclesError is returned by [Up] and [Down] when rows are in the way of the step.
type ObstaclesError struct{ Obstacles []Obstacle }

// Error counts the obstacles and contains no personal data, because it is logged.
func (e *ObstaclesError) Error() string {
	var counts []string
	for _, rule := range []Rule{NamesDiffer, OneLiving, NamesUsedTwice} {
		groups, rows := 0, 0
		for _, o := range e.Obstacles {
			if o.Rule == rule {
				groups, rows = groups+1, rows+len(o.Rows)
			}
		}
		if groups > 0 {
			counts = append(counts, fmt.Sprintf("%d × %s (%d rows)", groups, rule, rows))
		}
	}
	command := "status"
	if len(e.Obstacles) > 0 && e.Obstacles[0].Rule == NamesUsedTwice {
		command = "down"
	}
	return fmt.Sprintf("schema: rows are in the way: %s; `api migrate %s` lists them", strings.Join(counts, ", "), command)
}

// Obstacles returns the rows of the previous release that are in the way of [Up]. There are none in a database without
// that release's tables, nor in one that has been migrated. It changes nothing.
func Obstacles(ctx context.Context, db *database.DB) ([]Obstacle, error) {
	applied, err := history(ctx, db)
	if err != nil {
		return nil, err
	}
	if _, ok := applied[ownVersion]; ok {
		return nil, nil
	}
	var all []Obstacle
	for _, search := range searches {
		exists, err := hasTable(ctx, db, search.table)
		if err != nil {
			return nil, err
		}
		if !exists {
			continue
		}
		found, err := search.in(ctx, db)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// search finds the rows that break rule. Its query returns group, user id, username, subscription id, state and since,
// with the rows of a group together. table must exist.
type search struct {
	rule  Rule
	table string
	query string
}

// The expressions are those of the unique indexes in 00002.
var searches = []search{
	{NamesDiffer, "users", `
SELECT lower(username), id, username, '', CASE WHEN is_active THEN 'verified' ELSE 'not verified' END, created_at
FROM users WHERE deleted_at IS NULL AND lower(username) IN
	(SELECT lower(username) FROM users WHERE deleted_at IS NULL GROUP BY lower(username) HAVING count(*) > 1)
ORDER BY 1, created_at, id`},
	{OneLiving, "subscriptions", `
SELECT s.user_id, s.user_id, u.username, s.id, s.status, s.starts_at
FROM subscriptions s JOIN users u ON u.id = s.user_id
WHERE s.deleted_at IS NULL AND s.status IN ('active', 'trialing', 'past_due') AND s.user_id IN
	(SELECT user_id FROM subscriptions WHERE deleted_at IS NULL AND status IN ('active', 'trialing', 'past_due')
	GROUP BY user_id HAVING count(*) > 1)
ORDER BY s.user_id, s.starts_at, s.id`},
}

// namesUsedTwice is in the way of taking 00002 back: the constraint that it restores includes deleted users.
var namesUsedTwice = search{NamesUsedTwice, "users", `
SELECT username, id, username, '', CASE WHEN deleted_at IS NOT NULL THEN 'deleted' WHEN is_active THEN 'verified'
	ELSE 'not verified' END, created_at
FROM users WHERE username IN (SELECT username FROM users GROUP BY username HAVING count(*) > 1)
ORDER BY 1, created_at, id`}

// in returns the obstacles in db.
func (s search) in(ctx context.Context, db *database.DB) ([]Obstacle, error) {
	rows, err := db.Conn(ctx).QueryContext(ctx, s.query)
	if err != nil {
		return nil, fmt.Errorf("schema: looking for %s: %w", s.rule, err)
	}
	defer rows.Close()
	var found []Obstacle
	last := ""
	for rows.Next() {
		var group string
		var r Row
		var since sql.NullTime
		if err := rows.Scan(&group, &r.UserID, &r.Username, &r.SubscriptionID, &r.State, &since); err != nil {
			return nil, fmt.Errorf("schema: looking for %s: %w", s.rule, err)
		}
		if len(found) == 0 || group != last {
			found = append(found, Obstacle{Rule: s.rule})
		}
		last = group
		r.Since = since.Time.UTC()
		o := &found[len(found)-1]
		o.Rows = append(o.Rows, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("schema: looking for %s: %w", s.rule, err)
	}
	return found, nil
}
