package sqldb

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// Limits is an [authentication.LimitRepository]. It is safe for concurrent use.
type Limits struct{ db *database.DB }

// NewLimits returns a repository on db.
func NewLimits(db *database.DB) *Limits { return &Limits{db} }

const limitColumns = "kind, network, count, last_at, hour_at, hour_count, day_at, day_count, refused"

// Find returns those of the limits that are stored.
func (r *Limits) Find(
	ctx context.Context, digests [][]byte, keys ...authentication.LimitKey,
) (map[authentication.LimitKey]authentication.Limit, error) {
	where, args := whereLimits(digests, keys)
	return r.limits(ctx, "SELECT "+limitColumns+" FROM limits WHERE "+where, args...)
}

// Lock inserts what is missing under each digest, because only a row can be locked. Everybody waits for them in the same
// order. It returns database.ErrNoTx outside a transaction.
func (r *Limits) Lock(
	ctx context.Context, digests [][]byte, now time.Time, keys ...authentication.LimitKey,
) (map[authentication.LimitKey]authentication.Limit, error) {
	if _, err := r.db.Tx(ctx); err != nil {
		return nil, err
	}
	keys = slices.SortedFunc(slices.Values(keys), func(a, b authentication.LimitKey) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Network, b.Network))
	})
	values := make(map[authentication.LimitKey]authentication.Limit, len(keys))
	for _, key := range keys {
		values[key] = authentication.Limit{LastAt: now}
	}
	sorted := slices.SortedFunc(slices.Values(digests), bytes.Compare) // whichever is the first in this process
	statement, args := insertLimits(sorted, keys, values)
	return r.limits(ctx, statement+" DO UPDATE SET count = limits.count RETURNING "+limitColumns, args...)
}

// Save stores limits in place of what is there under all digests.
func (r *Limits) Save(
	ctx context.Context, digests [][]byte, limits map[authentication.LimitKey]authentication.Limit,
) error {
	keys := make([]authentication.LimitKey, 0, len(limits))
	for key := range limits {
		keys = append(keys, key)
	}
	statement, args := insertLimits(digests[:1], keys, limits)
	_, err := r.db.ExecTx(ctx, "authentication: storing limits", statement+` DO UPDATE SET count = excluded.count,
	last_at = excluded.last_at, hour_at = excluded.hour_at, hour_count = excluded.hour_count, day_at = excluded.day_at,
	day_count = excluded.day_count, refused = excluded.refused`, args...)
	if err != nil || len(digests) == 1 {
		return err
	}
	return r.Forget(ctx, digests[1:], keys...)
}

// Forget removes limits. It waits for them in the order in which Lock does.
func (r *Limits) Forget(ctx context.Context, digests [][]byte, keys ...authentication.LimitKey) error {
	where, args := whereLimits(digests, keys)
	_, err := r.remove(ctx, "authentication: removing limits", where+" ORDER BY digest, kind, network"+r.db.Dialect().ForUpdate(), args...)
	return err
}

func (r *Limits) remove(ctx context.Context, doing, where string, args ...any) (int64, error) {
	return r.db.Exec(ctx, doing, "DELETE FROM limits WHERE (digest, kind, network) IN (SELECT digest, kind, network FROM limits WHERE "+
		where+")", args...)
}

// Know writes once a day that a network is known.
func (r *Limits) Know(ctx context.Context, digests [][]byte, network string, now time.Time) error {
	key := authentication.LimitKey{Kind: authentication.LimitKnown, Network: network}
	statement, args := insertLimits(digests[:1], []authentication.LimitKey{key},
		map[authentication.LimitKey]authentication.Limit{key: {LastAt: now}})
	args = append(args, database.Truncate(now.Add(-authentication.LimitKept)))
	_, err := r.db.Exec(ctx, "authentication: storing a known network", statement+
		" DO UPDATE SET last_at = excluded.last_at WHERE limits.last_at < "+database.Placeholders(len(args), 1), args...)
	return err
}

// Purge removes what is older than it is kept, but for what is locked.
func (r *Limits) Purge(ctx context.Context, now time.Time) (purged int64, err error) {
	for _, p := range []struct {
		where string
		kept  time.Duration
	}{
		{"kind = 'known' AND last_at < $1", authentication.NetworkKnown},
		{"kind <> 'known' AND last_at < $1", authentication.LimitKept},
	} {
		n, err := r.db.Purge(ctx, "authentication: purging limits",
			database.Purge{Table: "limits", Key: "digest, kind, network", Oldest: "last_at", Where: p.where},
			database.Truncate(now.Add(-p.kept)))
		purged += n
		if err != nil {
			return purged, err
		}
	}
	return purged, nil
}

// Erase removes all limits of an address in which nothing has been counted since then, in the order in which Lock does.
func (r *Limits) Erase(ctx context.Context, digests [][]byte, then time.Time) error {
	args := []any{database.Truncate(then)}
	for _, digest := range digests {
		args = append(args, digest)
	}
	_, err := r.remove(ctx, "authentication: erasing limits", "last_at < $1 AND digest IN ("+
		database.Placeholders(2, len(digests))+") ORDER BY digest, kind, network"+r.db.Dialect().ForUpdate(), args...)
	return err
}

func (r *Limits) limits(
	ctx context.Context, query string, args ...any,
) (map[authentication.LimitKey]authentication.Limit, error) {
	found := map[authentication.LimitKey]authentication.Limit{}
	_, err := database.All(ctx, r.db, "authentication: reading limits", func(row database.Row) (struct{}, error) {
		var key authentication.LimitKey
		var l authentication.Limit
		err := row.Scan(&key.Kind, &key.Network, &l.Count, database.UTC(&l.LastAt), database.UTC(&l.Hour.Start),
			&l.Hour.Count, database.UTC(&l.Day.Start), &l.Day.Count, &l.Refused)
		found[key] = found[key].Merge(l)
		return struct{}{}, err
	}, query, args...)
	return found, err
}

func whereLimits(digests [][]byte, keys []authentication.LimitKey) (where string, args []any) {
	for _, digest := range digests {
		args = append(args, digest)
	}
	where = "digest IN (" + database.Placeholders(1, len(args)) + ") AND (kind, network) IN ("
	for i, key := range keys {
		if i > 0 {
			where += ", "
		}
		where += "(" + database.Placeholders(len(args)+1, 2) + ")"
		args = append(args, string(key.Kind), key.Network)
	}
	return where + ")", args
}

func insertLimits(
	digests [][]byte, keys []authentication.LimitKey, limits map[authentication.LimitKey]authentication.Limit,
) (statement string, args []any) {
	for _, digest := range digests {
		for _, key := range keys {
			l := limits[key]
			args = append(args, digest, string(key.Kind), key.Network, l.Count, database.Truncate(l.LastAt),
				database.Truncate(l.Hour.Start), l.Hour.Count, database.Truncate(l.Day.Start), l.Day.Count, l.Refused)
		}
	}
	return "INSERT INTO limits (digest, " + limitColumns + ") VALUES " + database.Rows(len(digests)*len(keys), 10) +
		" ON CONFLICT (digest, kind, network)", args
}
