package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/audit"
	auditsql "github.com/smap-platform/identity/internal/audit/repository/sqldb"
	"github.com/smap-platform/identity/internal/invitation"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	ops "github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/project"
	progressredis "github.com/smap-platform/identity/internal/project/repository/redisdb"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
)

// longestValue is how many bytes are shown of what a hash holds.
const longestValue = 300

// Batches implements [ops.Projects].
func (v operationsView) Batches(
	ctx context.Context, state, after string, limit int,
) (page ops.Part[ops.Batch], err error) {
	if suffix, ok := strings.CutPrefix(after, "proj_"); after != "" && (!ok || uuid.Validate(suffix) != nil) {
		return page, ops.ErrPlace
	}
	all, err := invitationsql.NewBatches(v.db).List(ctx, state, after, limit)
	if err != nil {
		return page, err
	}
	ids := make([]string, len(all))
	for i, b := range all {
		ids[i] = b.ID
		page.Rows = append(page.Rows, batchOf(b))
	}
	if len(all) == limit {
		page.More = ids[limit-1]
	}
	found, err := progressredis.New(v.state).Many(ctx, ids)
	if err != nil { // batches are shown without it
		return page, nil //nolint:nilerr // and as unknown
	}
	for i, p := range found {
		page.Rows[i].Progress = new(progressOf(p))
	}
	return page, nil
}

func batchOf(b invitation.Batch) ops.Batch {
	return ops.Batch{
		ID: b.ID, AdminID: b.AdminID, Total: b.Total, CreatedAt: b.CreatedAt, LastDueAt: b.LastDueAt,
		CancelledAt: b.CancelledAt, CompletedAt: b.CompletedAt,
	}
}

func progressOf(p project.Progress) ops.Progress {
	return ops.Progress{
		Found: p.Found(), Status: string(p.Status), Total: p.Total, Done: p.Done, Errors: p.Errors, Percent: p.Percent(),
	}
}

// Projects implements [ops.Projects].
func (v operationsView) Projects(
	ctx context.Context, state, after string, limit int,
) (page ops.Part[ops.Project], err error) {
	at, id, err := placeIn(after)
	if err != nil {
		return page, err
	}
	if state == "completed" {
		return v.completed(ctx, projectsql.Completed{ProjectID: id, At: time.UnixMicro(at)}, limit)
	}
	all, err := progressredis.New(v.state).List(ctx,
		progressredis.Touched{Progress: project.Progress{ProjectID: id}, At: time.UnixMilli(at).UTC()}, limit,
		func(p project.Progress) bool { return state == "open" || string(p.Status) == state })
	for _, t := range all {
		page.Rows = append(page.Rows, ops.Project{ID: t.ProjectID, Progress: progressOf(t.Progress), Touched: t.At})
	}
	if len(all) == limit {
		page.More = placeOfRow(all[limit-1].At.UnixMilli(), all[limit-1].ProjectID)
	}
	return page, err
}

// completed returns those that were announced, with what Redis still has of them.
func (v operationsView) completed(
	ctx context.Context, after projectsql.Completed, limit int,
) (page ops.Part[ops.Project], err error) {
	all, err := projectsql.NewCompletions(v.db).List(ctx, after, limit)
	if err != nil {
		return page, err
	}
	ids := make([]string, len(all))
	for i, c := range all {
		ids[i] = c.ProjectID
	}
	found, err := progressredis.New(v.state).Many(ctx, ids)
	if err != nil {
		return page, err
	}
	for i, c := range all {
		page.Rows = append(page.Rows, ops.Project{
			ID: c.ProjectID, Progress: progressOf(found[i]), CompletedAt: c.At, EventID: c.EventID,
		})
	}
	if len(all) == limit {
		page.More = placeOfRow(all[limit-1].At.UnixMicro(), all[limit-1].ProjectID)
	}
	return page, nil
}

// Project implements [ops.Projects].
func (v operationsView) Project(ctx context.Context, id string) (p ops.Project, err error) {
	if project.CheckID("id", id) != nil {
		return p, ops.ErrNoProject
	}
	store := progressredis.New(v.state)
	hash, err := store.Hash(ctx, id)
	if err != nil {
		return p, err
	}
	progress, err := store.Many(ctx, []string{id})
	if err != nil {
		return p, err
	}
	p = ops.Project{
		ID: id, Progress: progressOf(progress[0]), Owner: hash.Owner, Touched: hash.Touched, Life: max(hash.Life, 0),
	}
	for _, name := range slices.Sorted(maps.Keys(hash.Fields)) {
		value := hash.Fields[name]
		if len(value) > longestValue {
			value = strings.ToValidUTF8(value[:longestValue], "") + "…"
		}
		p.Fields = append(p.Fields, ops.Field{Name: name, Value: value})
	}
	completed, err := projectsql.NewCompletions(v.db).Of(ctx, id)
	if err != nil {
		return p, err
	}
	p.CompletedAt, p.EventID = completed.At, completed.EventID
	switch b, err := invitationsql.NewBatches(v.db).ByID(ctx, id); {
	case err == nil:
		p.Batch = new(batchOf(b))
	case !errors.Is(err, invitation.ErrBatchNotFound):
		return p, err
	case !p.Found && p.CompletedAt.IsZero():
		return p, ops.ErrNoProject
	}
	return p, nil
}

// Entries implements [ops.Record].
func (v operationsView) Entries(
	ctx context.Context, f audit.Filter, after string,
) (page ops.Part[audit.Entry], err error) {
	at, id, err := placeIn(after)
	if err != nil {
		return page, err
	}
	behind := time.Time{}
	if id != "" {
		behind = time.UnixMicro(at)
	}
	page.Rows, err = auditsql.NewEntries(v.db).Behind(ctx, f, behind, id)
	if n := len(page.Rows); n > 0 && n == f.Limit {
		page.More = placeOfRow(page.Rows[n-1].At.UnixMicro(), page.Rows[n-1].ID)
	}
	return page, err
}

// placeOfRow returns where a list goes on that is sorted by a time and an id.
func placeOfRow(at int64, id string) string { return strconv.FormatInt(at, 10) + "." + id }

// placeIn is the reverse; the beginning of the list is empty.
func placeIn(place string) (at int64, id string, err error) {
	if place == "" {
		return 0, "", nil
	}
	number, id, _ := strings.Cut(place, ".")
	at, err = strconv.ParseInt(number, 10, 64)
	if err != nil || id == "" || at < 0 || at > maxPlace || strings.ContainsRune(id, 0) {
		return 0, "", ops.ErrPlace
	}
	return at, id, nil
}

// maxPlace is a time that a database can compare with, in microseconds.
const maxPlace = 1 << 53
