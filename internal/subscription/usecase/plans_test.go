package usecase_test

import (
	"context"
	"strings"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/internal/subscription/mock"
	"github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/apperror"
)

func newCatalog(t *testing.T) (*usecase.Catalog, *mock.MockPlanRepository) {
	plans := mock.NewMockPlanRepository(gomock.NewController(t))
	return usecase.NewCatalog(usecase.CatalogDeps{Tx: &transactor{}, Clock: clock{}, Plans: plans, Audit: &audittest.Recorder{}}), plans
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("shows plans", func(t *testing.T) {
		t.Parallel()
		c, plans := newCatalog(t)
		plans.EXPECT().List(gomock.Any(), subscription.PlanFilter{Limit: 1}).Return([]subscription.Plan{pro}, 2, nil)
		got, total, err := c.ListPlans(ctx, subscription.PlanFilter{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, []subscription.Plan{pro}, got)
		require.Equal(t, 2, total)
		plans.EXPECT().ByID(gomock.Any(), "plan-2").Return(pro, nil)
		one, err := c.FindPlan(ctx, "plan-2")
		require.NoError(t, err)
		require.Equal(t, pro, one)
	})
	t.Run("creates a plan", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			usage *int
			want  int
		}{{nil, 3}, {ptr(0), 0}, {ptr(9), 9}} {
			c, plans := newCatalog(t)
			var stored subscription.Plan
			plans.EXPECT().Create(inATx(), gomock.Any()).DoAndReturn(func(_ context.Context, p subscription.Plan) (subscription.Plan, error) {
				stored = p
				return p, nil
			})
			got, err := c.CreatePlan(ctx, admin, subscription.PlanFields{Name: ptr(" Pro "), Code: ptr("pro"), MaxUsage: tt.usage})
			require.NoError(t, err)
			require.Equal(t, stored, got)
			require.Equal(t, subscription.Plan{ID: got.ID, Name: "Pro", Code: "pro", MaxUsage: tt.want, CreatedAt: now, UpdatedAt: now}, got)
		}
	})
	t.Run("refuses fields that cannot be", func(t *testing.T) {
		t.Parallel()
		name, code := ptr("Pro"), ptr("pro")
		for field, f := range map[string][]subscription.PlanFields{
			"name": {{Code: code}, {Name: ptr(" "), Code: code}, {Name: ptr(strings.Repeat("ắ", 51)), Code: code}, {Name: ptr("a\x00"), Code: code}},
			"code": {{Name: name}, {Name: name, Code: ptr("a b")}, {Name: name, Code: ptr(strings.Repeat("a", 51))}},
			"description": {
				{Name: name, Code: code, Description: ptr(strings.Repeat("a", 1001))}, {Name: name, Code: code, Description: ptr("\x00")},
			},
			"max_usage": {{Name: name, Code: code, MaxUsage: ptr(-1)}, {Name: name, Code: code, MaxUsage: ptr(1 << 31)}},
		} {
			for _, fields := range f {
				c, plans := newCatalog(t)
				_, err := c.CreatePlan(ctx, admin, fields)
				require.ErrorIs(t, err, subscription.ErrPlanBody)
				require.Len(t, apperror.From(err).Fields, 1)
				require.Contains(t, apperror.From(err).Fields, field)
				if fields.Name != nil && fields.Code != nil {
					plans.EXPECT().LockByID(inATx(), "plan-2").Return(pro, nil)
					plans.EXPECT().EverUsed(inATx(), "plan-2").Return(false, nil).MaxTimes(1)
					_, err = c.UpdatePlan(ctx, admin, "plan-2", fields)
					require.ErrorIs(t, err, subscription.ErrPlanBody)
				}
			}
		}
	})
	t.Run("changes a plan", func(t *testing.T) {
		t.Parallel()
		c, plans := newCatalog(t)
		want := pro
		want.Name, want.Description, want.MaxUsage, want.UpdatedAt = "Team", "For many", 0, now
		plans.EXPECT().LockByID(inATx(), "plan-2").Return(pro, nil).Times(2)
		plans.EXPECT().Update(inATx(), want).Return(nil)
		got, err := c.UpdatePlan(ctx, admin, "plan-2", subscription.PlanFields{
			Name: ptr("Team"), Code: ptr("pro"), Description: ptr("For many"), MaxUsage: ptr(0),
		})
		require.NoError(t, err)
		require.Equal(t, want, got)
		got, err = c.UpdatePlan(ctx, admin, "plan-2", subscription.PlanFields{Name: ptr("Pro")}) // as it is
		require.NoError(t, err)
		require.Equal(t, pro, got)
	})
	t.Run("changes no code that is known elsewhere", func(t *testing.T) {
		t.Parallel()
		c, plans := newCatalog(t)
		rename := subscription.PlanFields{Code: ptr("other")}
		plans.EXPECT().LockByID(inATx(), "plan-2").Return(pro, nil).Times(2)
		plans.EXPECT().EverUsed(inATx(), "plan-2").Return(true, nil)
		_, err := c.UpdatePlan(ctx, admin, "plan-2", rename)
		require.ErrorIs(t, err, subscription.ErrPlanInUse)
		plans.EXPECT().LockByID(inATx(), "plan-1").Return(free, nil)
		plans.EXPECT().EverUsed(inATx(), "plan-1").Return(false, nil)
		_, err = c.UpdatePlan(ctx, admin, "plan-1", rename)
		require.ErrorIs(t, err, subscription.ErrPlanInUse)

		plans.EXPECT().EverUsed(inATx(), "plan-2").Return(false, nil)
		plans.EXPECT().Update(inATx(), gomock.Any()).Return(nil)
		got, err := c.UpdatePlan(ctx, admin, "plan-2", rename)
		require.NoError(t, err)
		require.Equal(t, "other", got.Code)
	})
	t.Run("deletes no plan that is in use", func(t *testing.T) {
		t.Parallel()
		c, plans := newCatalog(t)
		plans.EXPECT().LockByID(inATx(), "plan-2").Return(pro, nil).Times(2)
		plans.EXPECT().InUse(inATx(), "plan-2", now).Return(true, nil)
		require.ErrorIs(t, c.DeletePlan(ctx, admin, "plan-2"), subscription.ErrPlanInUse)
		plans.EXPECT().LockByID(inATx(), "plan-1").Return(free, nil)
		plans.EXPECT().InUse(inATx(), "plan-1", now).Return(false, nil)
		require.ErrorIs(t, c.DeletePlan(ctx, admin, "plan-1"), subscription.ErrPlanInUse)
		plans.EXPECT().InUse(inATx(), "plan-2", now).Return(false, nil)
		plans.EXPECT().Delete(inATx(), "plan-2", now).Return(nil)
		require.NoError(t, c.DeletePlan(ctx, admin, "plan-2"))
	})
	t.Run("returns what a step returns", func(t *testing.T) {
		t.Parallel()
		c, plans := newCatalog(t)
		plans.EXPECT().Create(inATx(), gomock.Any()).Return(subscription.Plan{}, subscription.ErrPlanExists)
		_, err := c.CreatePlan(ctx, admin, subscription.PlanFields{Name: ptr("Pro"), Code: ptr("pro")})
		require.ErrorIs(t, err, subscription.ErrPlanExists)
		plans.EXPECT().LockByID(inATx(), "plan-2").Return(subscription.Plan{}, subscription.ErrPlanNotFound).Times(2)
		_, err = c.UpdatePlan(ctx, admin, "plan-2", subscription.PlanFields{})
		require.ErrorIs(t, err, subscription.ErrPlanNotFound)
		require.ErrorIs(t, c.DeletePlan(ctx, admin, "plan-2"), subscription.ErrPlanNotFound)
		plans.EXPECT().LockByID(inATx(), "plan-1").Return(pro, nil)
		plans.EXPECT().InUse(inATx(), "plan-1", now).Return(false, errDown)
		require.ErrorIs(t, c.DeletePlan(ctx, admin, "plan-1"), errDown)
	})
	t.Run("refuses who is no administrator", func(t *testing.T) {
		t.Parallel()
		c, _ := newCatalog(t)
		_, err := c.CreatePlan(ctx, owner, subscription.PlanFields{})
		require.ErrorIs(t, err, subscription.ErrForbidden)
		_, err = c.UpdatePlan(ctx, owner, "plan-2", subscription.PlanFields{})
		require.ErrorIs(t, err, subscription.ErrForbidden)
		require.ErrorIs(t, c.DeletePlan(ctx, owner, "plan-2"), subscription.ErrForbidden)
	})
}
