package sqldb_test

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
)

func (s suite) ensure(p subscription.Plan) (stored subscription.Plan, err error) {
	err = s.tx(func(ctx context.Context) (err error) {
		stored, err = s.plans.Ensure(ctx, p)
		return err
	})
	return stored, err
}

func (s suite) createPlan(p subscription.Plan) (stored subscription.Plan, err error) {
	err = s.tx(func(ctx context.Context) (err error) {
		stored, err = s.plans.Create(ctx, p)
		return err
	})
	return stored, err
}

func (s suite) updatePlan(p subscription.Plan) error {
	return s.tx(func(ctx context.Context) error { return s.plans.Update(ctx, p) })
}

func (s suite) deletePlan(p subscription.Plan) {
	require.NoError(s.t, s.tx(func(ctx context.Context) error { return s.plans.Delete(ctx, p.ID, now) }))
}

// named returns a plan that is not stored.
func named(name, code string) subscription.Plan {
	return subscription.Plan{
		ID: newID(), Name: name, Code: code, Description: "of " + name, MaxUsage: 7, CreatedAt: now, UpdatedAt: now,
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	each(t, "are stored, changed and hidden", func(s suite) {
		ctx := context.Background()
		want := named("Pro", "pro")
		got, err := s.createPlan(want)
		require.NoError(s.t, err)
		require.Equal(s.t, want, got)
		want.Name, want.Code, want.Description, want.MaxUsage, want.UpdatedAt = "Team", "team", "", 0, now.Add(time.Hour)
		require.NoError(s.t, s.updatePlan(want))
		for _, read := range []func(context.Context, string) (subscription.Plan, error){
			s.plans.ByID, s.plans.Held, s.plans.UseByID, s.plans.LockByID,
		} {
			got, err := read(ctx, want.ID)
			require.NoError(s.t, err)
			require.Equal(s.t, want, got)
			for _, id := range []string{newID(), "", "42"} {
				_, err = read(ctx, id)
				require.ErrorIs(s.t, err, subscription.ErrPlanNotFound)
			}
		}
		got, err = s.plans.UseByCode(ctx, "team")
		require.NoError(s.t, err)
		require.Equal(s.t, want, got)

		s.deletePlan(want)
		for _, read := range []func(context.Context, string) (subscription.Plan, error){
			s.plans.ByID, s.plans.UseByID, s.plans.LockByID,
		} {
			_, err := read(ctx, want.ID)
			require.ErrorIs(s.t, err, subscription.ErrPlanNotFound)
		}
		_, err = s.plans.UseByCode(ctx, "team")
		require.ErrorIs(s.t, err, subscription.ErrPlanNotFound)
		_, err = s.plans.Held(ctx, want.ID)
		require.NoError(s.t, err, "subscriptions keep theirs")
	})
	each(t, "have a name and a code of their own", func(s suite) {
		pro, err := s.createPlan(named("Pro", "pro"))
		require.NoError(s.t, err)
		gone, err := s.createPlan(named("Gone", "gone"))
		require.NoError(s.t, err)
		s.deletePlan(gone)
		for _, taken := range []subscription.Plan{
			named("Pro", "other"), named("Other", "pro"), named("Gone", "other"), named("Pro", "gone"),
		} {
			_, err := s.createPlan(taken)
			require.ErrorIs(s.t, err, subscription.ErrPlanExists, taken.Name+" "+taken.Code)
		}
		for _, taken := range [][2]string{{s.plan.Name, "pro"}, {"Pro", s.plan.Code}, {"Gone", "pro"}, {"Pro", "gone"}} {
			changed := pro
			changed.Name, changed.Code = taken[0], taken[1]
			require.ErrorIs(s.t, s.updatePlan(changed), subscription.ErrPlanExists, taken)
		}
	})
	each(t, "come back when their code does", func(s suite) {
		pro, err := s.createPlan(named("Pro", "pro"))
		require.NoError(s.t, err)
		s.deletePlan(pro)
		again := named("Professional", "pro")
		got, err := s.createPlan(again)
		require.NoError(s.t, err)
		again.ID = pro.ID
		require.Equal(s.t, again, got)
		got, err = s.plans.ByID(context.Background(), pro.ID)
		require.NoError(s.t, err)
		require.Equal(s.t, again, got)
	})
	each(t, "are listed, the newest first", func(s suite) {
		pro, team := named("Pro", "pro"), named("Team", "team")
		pro.CreatedAt, team.CreatedAt = now.Add(time.Hour), now.Add(2*time.Hour)
		for _, p := range []subscription.Plan{pro, team} {
			_, err := s.createPlan(p)
			require.NoError(s.t, err)
		}
		for name, tt := range map[string]struct {
			filter subscription.PlanFilter
			want   []subscription.Plan
			total  int
		}{
			"all":     {subscription.PlanFilter{Limit: 9}, []subscription.Plan{team, pro, s.plan}, 3},
			"a page":  {subscription.PlanFilter{Limit: 1, Offset: 1}, []subscription.Plan{pro}, 3},
			"by id":   {subscription.PlanFilter{Limit: 9, IDs: []string{pro.ID, "x"}}, []subscription.Plan{pro}, 1},
			"by code": {subscription.PlanFilter{Limit: 9, Codes: []string{"team", "free"}}, []subscription.Plan{team, s.plan}, 2},
		} {
			got, total, err := s.plans.List(context.Background(), tt.filter)
			require.NoError(s.t, err, name)
			require.Equal(s.t, tt.want, got, name)
			require.Equal(s.t, tt.total, total, name)
		}
	})
	each(t, "are in use while a subscription is live or in force", func(s suite) {
		hour := now.Add(time.Hour)
		for _, tt := range []struct {
			status subscription.Status
			ends   *time.Time
			used   bool
		}{
			{subscription.StatusActive, nil, true},
			{subscription.StatusTrialing, &now, true}, // its end has passed, but nothing has ended it
			{subscription.StatusPastDue, nil, true},
			{subscription.StatusCancelled, &hour, true},
			{subscription.StatusCancelled, &now, false},
			{subscription.StatusExpired, &hour, false},
		} {
			plan, err := s.createPlan(named(newID(), newID()))
			require.NoError(s.t, err)
			ever, err := s.plans.EverUsed(context.Background(), plan.ID)
			require.NoError(s.t, err)
			require.False(s.t, ever)
			sub := s.trial(s.user())
			sub.PlanID, sub.Status, sub.EndsAt, sub.TrialEndsAt = plan.ID, tt.status, tt.ends, nil
			s.create(sub)
			used, err := s.plans.InUse(context.Background(), plan.ID, now)
			require.NoError(s.t, err)
			require.Equal(s.t, tt.used, used, tt.status)
			s.exec("UPDATE subscriptions SET deleted_at = $2 WHERE id = $1", sub.ID, now)
			used, err = s.plans.InUse(context.Background(), plan.ID, now)
			require.NoError(s.t, err)
			require.False(s.t, used)
			ever, err = s.plans.EverUsed(context.Background(), plan.ID)
			require.NoError(s.t, err)
			require.True(s.t, ever)
		}
	})
	// Either the plan is gone before it is used, or it is used before it can be deleted.
	each(t, "are not deleted while they are put to use", func(s suite) {
		for range 10 {
			plan, err := s.createPlan(named(newID(), newID()))
			require.NoError(s.t, err)
			user := s.user()
			errs := together(2, func(i int) error {
				return s.tx(func(ctx context.Context) error {
					if i == 0 {
						if _, err := s.plans.UseByID(ctx, plan.ID); err != nil {
							return err
						}
						sub := s.trial(user)
						sub.PlanID = plan.ID
						return s.repo.Create(ctx, sub)
					}
					if _, err := s.plans.LockByID(ctx, plan.ID); err != nil {
						return err
					}
					if used, err := s.plans.InUse(ctx, plan.ID, now); used || err != nil {
						return cmp.Or[error](err, subscription.ErrPlanInUse)
					}
					return s.plans.Delete(ctx, plan.ID, now)
				})
			})
			if errs[0] == nil {
				require.ErrorIs(s.t, errs[1], subscription.ErrPlanInUse)
			} else {
				require.ErrorIs(s.t, errs[0], subscription.ErrPlanNotFound)
				require.NoError(s.t, errs[1])
			}
		}
	})
}

func TestEnsure(t *testing.T) {
	t.Parallel()
	each(t, "returns the stored plan", func(s suite) {
		first := subscription.Plan{
			ID:          newID(),
			Name:        "Team",
			Code:        "team",
			Description: "For many",
			MaxUsage:    7,
			CreatedAt:   now,
			UpdatedAt:   now,
		}
		got, err := s.ensure(first)
		require.NoError(s.t, err)
		require.Equal(s.t, first, got)

		again := first
		again.ID, again.Name, again.MaxUsage = newID(), "Team again", 8
		got, err = s.ensure(again)
		require.NoError(s.t, err)
		require.Equal(s.t, first, got)
	})
	each(t, "restores a deleted plan", func(s suite) {
		s.exec("UPDATE plans SET deleted_at = $2, description = NULL WHERE id = $1", s.plan.ID, now)
		p := plan()
		p.UpdatedAt = now.Add(time.Hour)
		got, err := s.ensure(p)
		require.NoError(s.t, err)
		want := s.plan
		want.UpdatedAt = p.UpdatedAt
		require.Equal(s.t, want, got)
	})
	// The previous release allowed the name "Free" for any plan; trials must start all the same.
	each(t, "adds the code to a name that another plan has", func(s suite) {
		s.exec("UPDATE plans SET code = 'gratis' WHERE id = $1", s.plan.ID)
		want := plan()
		got, err := s.ensure(want)
		require.NoError(s.t, err)
		want.Name = "Free (free)"
		require.Equal(s.t, want, got)
		got, err = s.ensure(plan())
		require.NoError(s.t, err)
		require.Equal(s.t, want, got, "the second call finds it")
	})
	each(t, "adds the code to a name that a deleted plan has", func(s suite) {
		s.exec("UPDATE plans SET code = 'gratis', deleted_at = $2 WHERE id = $1", s.plan.ID, now)
		got, err := s.ensure(plan())
		require.NoError(s.t, err)
		require.Equal(s.t, "Free (free)", got.Name)
	})
	each(t, "agrees on one name in concurrent calls", func(s suite) {
		s.exec("UPDATE plans SET code = 'gratis' WHERE id = $1", s.plan.ID)
		got := make([]subscription.Plan, 10)
		errs := together(len(got), func(i int) (err error) {
			got[i], err = s.ensure(plan())
			return err
		})
		for i, err := range errs {
			require.NoError(s.t, err)
			require.Equal(s.t, got[0], got[i])
		}
	})
	each(t, "adds the id to a name that is used with the code as well", func(s suite) {
		other := plan()
		other.Name, other.Code = "Free (free-2)", "other"
		_, err := s.ensure(other)
		require.NoError(s.t, err)
		p := plan()
		p.Code = "free-2"
		got, err := s.ensure(p)
		require.NoError(s.t, err)
		require.Equal(s.t, "Free ("+p.ID+")", got.Name)
		require.LessOrEqual(s.t, len(got.Name), 50, "the column's width")
	})
	// One plan is in the way of every trial: whatever the previous release's schema permits in it can be read.
	onPostgres(t, "reads a plan that lacks everything", func(s suite) {
		s.exec("UPDATE plans SET description = NULL, max_usage = NULL, created_at = NULL, updated_at = NULL")
		want := s.plan
		want.MaxUsage, want.CreatedAt, want.UpdatedAt = 3, time.Unix(0, 0).UTC(), time.Unix(0, 0).UTC()
		got, err := s.ensure(plan())
		require.NoError(s.t, err)
		require.Equal(s.t, want, got)
	})
	each(t, "stores one plan in concurrent calls", func(s suite) {
		got := make([]subscription.Plan, 10)
		errs := together(len(got), func(i int) (err error) {
			p := plan()
			p.Name, p.Code = "Team", "team"
			got[i], err = s.ensure(p)
			return err
		})
		for i, err := range errs {
			require.NoError(s.t, err)
			require.Equal(s.t, got[0], got[i])
		}
	})
}
