package usecase

import (
	"context"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/subscription"
)

// CatalogDeps are the dependencies of [Catalog]. All are required.
type CatalogDeps struct {
	Tx    subscription.Transactor
	Clock subscription.Clock
	Plans subscription.PlanRepository
	Audit audit.Recorder
}

// Catalog shows and changes the plans. Safe for concurrent use.
type Catalog struct{ deps CatalogDeps }

// NewCatalog returns a Catalog on d.
func NewCatalog(d CatalogDeps) *Catalog { return &Catalog{d} }

// ListPlans returns the page of those plans that f selects, and the number of all of them.
func (c *Catalog) ListPlans(ctx context.Context, f subscription.PlanFilter) ([]subscription.Plan, int, error) {
	return c.deps.Plans.List(ctx, f)
}

// FindPlan returns a plan, or [subscription.ErrPlanNotFound].
func (c *Catalog) FindPlan(ctx context.Context, id string) (subscription.Plan, error) {
	return c.deps.Plans.ByID(ctx, id)
}

// CreatePlan stores a plan and returns it. The deleted plan with its code is restored with the new fields: codes name one
// plan for ever. CreatePlan returns [subscription.ErrForbidden] if the actor is no administrator,
// [subscription.ErrPlanBody] for invalid fields, and [subscription.ErrPlanExists].
func (c *Catalog) CreatePlan(ctx context.Context, actor subscription.Actor, f subscription.PlanFields) (p subscription.Plan, err error) {
	if !actor.Admin {
		return p, subscription.ErrForbidden
	}
	now := c.deps.Clock.Now()
	created := subscription.Plan{
		ID:        uuid.Must(uuid.NewV7()).String(),
		MaxUsage:  subscription.DefaultUsage,
		CreatedAt: now,
		UpdatedAt: now,
	}
	f.Set(&created)
	if err := created.Check(); err != nil {
		return p, err
	}
	err = c.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if p, err = c.deps.Plans.Create(ctx, created); err != nil {
			return err
		}
		return c.audit(ctx, audit.PlanCreated, actor, p.ID)
	})
	if err != nil {
		return subscription.Plan{}, err
	}
	return p, nil
}

// UpdatePlan changes a plan and returns it. The code of a plan that was ever used stays, because events and states carry
// it, and so does that of the plan of every trial. UpdatePlan returns [subscription.ErrPlanInUse] for these,
// [subscription.ErrPlanNotFound], and the errors of [Catalog.CreatePlan].
func (c *Catalog) UpdatePlan(
	ctx context.Context, actor subscription.Actor, id string, f subscription.PlanFields,
) (p subscription.Plan, err error) {
	if !actor.Admin {
		return p, subscription.ErrForbidden
	}
	err = c.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		if p, err = c.deps.Plans.LockByID(ctx, id); err != nil {
			return err
		}
		before := p
		f.Set(&p)
		if p == before {
			return nil
		}
		if err := p.Check(); err != nil {
			return err
		}
		if p.Code != before.Code {
			used, err := c.deps.Plans.EverUsed(ctx, id)
			if err := inUse(before, used, err, "code"); err != nil {
				return err
			}
		}
		p.UpdatedAt = c.deps.Clock.Now()
		if err := c.deps.Plans.Update(ctx, p); err != nil {
			return err
		}
		return c.audit(ctx, audit.PlanChanged, actor, id)
	})
	if err != nil {
		return subscription.Plan{}, err
	}
	return p, nil
}

// DeletePlan hides a plan. It returns [subscription.ErrForbidden] if the actor is no administrator,
// [subscription.ErrPlanNotFound], and [subscription.ErrPlanInUse] while a subscription uses it, and always for the plan
// of every trial.
func (c *Catalog) DeletePlan(ctx context.Context, actor subscription.Actor, id string) error {
	if !actor.Admin {
		return subscription.ErrForbidden
	}
	return c.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		p, err := c.deps.Plans.LockByID(ctx, id)
		if err != nil {
			return err
		}
		now := c.deps.Clock.Now()
		used, err := c.deps.Plans.InUse(ctx, id, now)
		if err := inUse(p, used, err, "id"); err != nil {
			return err
		}
		if err := c.deps.Plans.Delete(ctx, id, now); err != nil {
			return err
		}
		return c.audit(ctx, audit.PlanDeleted, actor, id)
	})
}

func (c *Catalog) audit(ctx context.Context, action audit.Action, actor subscription.Actor, planID string) error {
	return c.deps.Audit.Record(ctx, audit.Entry{Action: action, ActorID: actor.UserID, SubjectID: planID})
}

// inUse returns err, or [subscription.ErrPlanInUse] about field when p is used or the plan of every trial.
func inUse(p subscription.Plan, used bool, err error, field string) error {
	switch {
	case err != nil:
		return err
	case p.Code == subscription.FreePlanCode:
		return subscription.ErrPlanInUse.WithFields(map[string]string{field: "is that of the plan of every trial"})
	case used:
		return subscription.ErrPlanInUse.WithFields(map[string]string{field: "is used by subscriptions"})
	}
	return nil
}
