package sqldb_test

import (
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
