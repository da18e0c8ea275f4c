package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

// Plans implements [subscription.PlanRepository].
type Plans struct{ db *database.DB }

// NewPlans returns a repository on db, which must have the schema.
func NewPlans(db *database.DB) *Plans { return &Plans{db} }

var _ subscription.PlanRepository = (*Plans)(nil)

// Ensure implements [subscription.PlanRepository]. It restores a deleted plan with the code of p unchanged, because
// codes are unique among deleted plans too. Names are also unique, and the previous release allowed any name for any
// plan: if another plan has the name, the new plan gets name and code, as in "Free (free)", and if one has that as well,
// name and id.
func (r *Plans) Ensure(ctx context.Context, p subscription.Plan) (subscription.Plan, error) {
	stored, err := r.byCode(ctx, p.Code) // the usual case: nothing is written or locked
	if !database.IsNotFound(err) {
		return stored, err
	}
	for _, name := range []string{p.Name, fmt.Sprintf("%s (%s)", p.Name, p.Code), fmt.Sprintf("%s (%s)", p.Name, p.ID)} {
		p.Name = name
		if err := r.insert(ctx, p); err != nil {
			return subscription.Plan{}, err
		}
		stored, err = r.byCode(ctx, p.Code)
		if !database.IsNotFound(err) {
			return stored, err
		}
	}
	return subscription.Plan{}, fmt.Errorf(
		"subscription: plan %q cannot be created: another plan has the name %q; rename that plan", p.Code, p.Name)
}

// insert stores p, or restores the deleted plan with its code. It does nothing if a plan has its code or name.
func (r *Plans) insert(ctx context.Context, p subscription.Plan) error {
	_, err := r.db.Exec(ctx, "subscription: storing the plan "+p.Code, `INSERT INTO plans
		(id, name, code, description, max_usage, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		p.ID, p.Name, p.Code, p.Description, p.MaxUsage, p.CreatedAt, p.UpdatedAt)
	if err != nil {
		return err
	}
	_, err = r.db.Exec(ctx, "subscription: restoring the plan "+p.Code, `UPDATE plans SET deleted_at = NULL, updated_at = $2
		WHERE code = $1 AND deleted_at IS NOT NULL`, p.Code, p.UpdatedAt)
	return err
}

// planColumns reads rows of the previous release as well, whose plans may lack all that it selects beside id, name and
// code. 3 is its default for max_usage.
const planColumns = "id, name, code, COALESCE(description, ''), COALESCE(max_usage, 3), created_at, updated_at"

func (r *Plans) byCode(ctx context.Context, code string) (subscription.Plan, error) {
	return r.one(ctx, "deleted_at IS NULL AND code = $1", code)
}

// one returns [sql.ErrNoRows] when there is no such plan.
func (r *Plans) one(ctx context.Context, where string, arg any) (subscription.Plan, error) {
	p, err := scanPlan(r.db.Conn(ctx).QueryRowContext(ctx, "SELECT "+planColumns+" FROM plans WHERE "+where, arg))
	return p, database.Wrap("subscription: reading a plan", err)
}

// ByID implements [subscription.PlanRepository].
func (r *Plans) ByID(ctx context.Context, id string) (subscription.Plan, error) {
	return asPlanNotFound(r.one(ctx, "deleted_at IS NULL AND id = $1", database.UUID(id)))
}

// Held implements [subscription.PlanRepository].
func (r *Plans) Held(ctx context.Context, id string) (subscription.Plan, error) {
	return asPlanNotFound(r.one(ctx, "id = $1", database.UUID(id)))
}

// UseByID implements [subscription.PlanRepository].
func (r *Plans) UseByID(ctx context.Context, id string) (subscription.Plan, error) {
	return asPlanNotFound(r.one(ctx, "deleted_at IS NULL AND id = $1"+r.db.Dialect().ForShare(), database.UUID(id)))
}

// UseByCode implements [subscription.PlanRepository].
func (r *Plans) UseByCode(ctx context.Context, code string) (subscription.Plan, error) {
	return asPlanNotFound(r.one(ctx, "deleted_at IS NULL AND code = $1"+r.db.Dialect().ForShare(), code))
}

// LockByID implements [subscription.PlanRepository].
func (r *Plans) LockByID(ctx context.Context, id string) (subscription.Plan, error) {
	return asPlanNotFound(r.one(ctx, "deleted_at IS NULL AND id = $1"+r.db.Dialect().ForUpdate(), database.UUID(id)))
}

func asPlanNotFound(p subscription.Plan, err error) (subscription.Plan, error) {
	if database.IsNotFound(err) {
		return p, subscription.ErrPlanNotFound
	}
	return p, err
}

// InUse implements [subscription.PlanRepository]. The end of a cancelled subscription is that of
// [subscription.Subscription.EffectiveUntil].
func (r *Plans) InUse(ctx context.Context, id string, now time.Time) (used bool, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM subscriptions
		WHERE plan_id = $1 AND deleted_at IS NULL AND (status IN `+live+` OR status = 'cancelled'
			AND COALESCE(ends_at, trial_ends_at, cancelled_at, updated_at) > $2))`,
		database.UUID(id), database.Truncate(now)).Scan(&used)
	return used, database.Wrap("subscription: looking for users of a plan", err)
}

// EverUsed implements [subscription.PlanRepository].
func (r *Plans) EverUsed(ctx context.Context, id string) (used bool, err error) {
	err = r.db.Conn(ctx).QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM subscriptions WHERE plan_id = $1)",
		database.UUID(id)).Scan(&used)
	return used, database.Wrap("subscription: looking for users of a plan", err)
}

// Create implements [subscription.PlanRepository].
func (r *Plans) Create(ctx context.Context, p subscription.Plan) (subscription.Plan, error) {
	n, err := r.db.ExecTx(ctx, "subscription: storing a plan", `INSERT INTO plans
		(id, name, code, description, max_usage, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		p.ID, p.Name, p.Code, p.Description, p.MaxUsage, p.CreatedAt, p.UpdatedAt)
	if err != nil || n == 1 {
		return p, err
	}
	restored, err := scanPlan(r.db.Conn(ctx).QueryRowContext(ctx, `UPDATE plans
		SET deleted_at = NULL, name = $2, description = $3, max_usage = $4, updated_at = $5
		WHERE code = $1 AND deleted_at IS NOT NULL RETURNING `+planColumns,
		p.Code, p.Name, p.Description, p.MaxUsage, p.UpdatedAt))
	if database.IsNotFound(err) {
		return p, subscription.ErrPlanExists
	}
	return restored, r.asTaken("subscription: restoring a plan", err)
}

// Update implements [subscription.PlanRepository].
func (r *Plans) Update(ctx context.Context, p subscription.Plan) error {
	_, err := r.db.ExecTx(ctx, "subscription: changing a plan", `UPDATE plans
		SET name = $2, code = $3, description = $4, max_usage = $5, updated_at = $6 WHERE id = $1 AND deleted_at IS NULL`,
		database.UUID(p.ID), p.Name, p.Code, p.Description, p.MaxUsage, p.UpdatedAt)
	return r.asTaken("subscription: changing a plan", err)
}

// asTaken returns [subscription.ErrPlanExists] for the violation of a unique index.
func (r *Plans) asTaken(doing string, err error) error {
	if r.db.Dialect().IsUniqueViolation(err) {
		return subscription.ErrPlanExists
	}
	return database.Wrap(doing, err)
}

// Delete implements [subscription.PlanRepository].
func (r *Plans) Delete(ctx context.Context, id string, now time.Time) error {
	_, err := r.db.ExecTx(ctx, "subscription: deleting a plan",
		"UPDATE plans SET deleted_at = $2, updated_at = $2 WHERE id = $1 AND deleted_at IS NULL",
		database.UUID(id), database.Truncate(now))
	return err
}

// List implements [subscription.PlanRepository].
func (r *Plans) List(ctx context.Context, f subscription.PlanFilter) ([]subscription.Plan, int, error) {
	s := selection{}
	s.in("id", uuids(f.IDs))
	s.in("code", f.Codes)
	return list(ctx, r.db, "subscription: listing plans", scanPlan, planColumns,
		"FROM plans WHERE deleted_at IS NULL"+s.conditions, "created_at DESC NULLS LAST, id DESC", s.args, f.Limit, f.Offset)
}

func scanPlan(row database.Row) (p subscription.Plan, err error) {
	err = row.Scan(&p.ID, &p.Name, &p.Code, &p.Description, &p.MaxUsage,
		database.UTC(&p.CreatedAt), database.UTC(&p.UpdatedAt))
	database.FillTimes(&p.CreatedAt, &p.UpdatedAt)
	return p, err
}
