package sqldb

import (
	"context"
	"fmt"

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

// selectPlan reads rows of the previous release as well, whose plans may lack all that it selects beside id, name and
// code. 3 is its default for max_usage.
const selectPlan = `SELECT id, name, code, COALESCE(description, ''), COALESCE(max_usage, 3), created_at, updated_at
	FROM plans WHERE deleted_at IS NULL AND `

func (r *Plans) byCode(ctx context.Context, code string) (subscription.Plan, error) {
	p, err := scanPlan(r.db.Conn(ctx).QueryRowContext(ctx, selectPlan+"code = $1", code))
	return p, database.Wrap("subscription: reading the plan "+code, err)
}

func scanPlan(row database.Row) (p subscription.Plan, err error) {
	err = row.Scan(&p.ID, &p.Name, &p.Code, &p.Description, &p.MaxUsage,
		database.UTC(&p.CreatedAt), database.UTC(&p.UpdatedAt))
	database.FillTimes(&p.CreatedAt, &p.UpdatedAt)
	return p, err
}
