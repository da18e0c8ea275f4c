package usecase_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/usecase"
)

func (f fixture) expectOpen(ids ...string) *gomock.Call {
	return f.open.EXPECT().ListOpen(gomock.Any(), 5*time.Second, 100).Return(ids, nil)
}

func TestSweeper(t *testing.T) {
	t.Parallel()
	t.Run("completes what was left open", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.expectOpen("gone", "running", "proj_1", "crossed")
		gone := project.Change{Progress: project.Progress{ProjectID: "gone", Status: project.StatusNotFound}}
		crossed := done()
		crossed.ProjectID, crossed.Crossed = "crossed", true
		f.open.EXPECT().Check(gomock.Any(), "gone").Return(gone, nil)
		f.open.EXPECT().Check(gomock.Any(), "running").Return(running(), nil)
		f.open.EXPECT().Check(gomock.Any(), "proj_1").Return(done(), nil)
		f.open.EXPECT().Check(gomock.Any(), "crossed").Return(crossed, nil)
		f.expectSignal(true)
		f.updates.EXPECT().Publish("user-1", crossed.Progress) // a late total completed it
		f.completions.EXPECT().Add(inATx(), "crossed", usecase.CompletedEventID("crossed"), now).Return(true, nil)
		f.listener.EXPECT().ProjectCompleted(inATx(), gomock.Any()).Return(nil)
		f.open.EXPECT().MarkSignalled(outsideATx(), "crossed").Return(nil)

		require.NoError(t, usecase.NewSweeper(f.deps).Sweep(context.Background()))
		require.Len(t, f.events.Events(), 2)
		require.Len(t, f.observer.completed, 2)
	})
	t.Run("passes over projects that cannot be completed", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		s := usecase.NewSweeper(f.deps)
		for range 2 {
			f.expectOpen("bad", "worse", "running", "proj_1")
			f.open.EXPECT().Check(gomock.Any(), "bad").Return(project.Change{}, errDown)
			f.open.EXPECT().Postpone(gomock.Any(), "bad")
			f.open.EXPECT().Check(gomock.Any(), "worse").Return(project.Change{}, errDown)
			f.open.EXPECT().Postpone(gomock.Any(), "worse")
			f.open.EXPECT().Check(gomock.Any(), "running").Return(running(), nil)
			f.open.EXPECT().Check(gomock.Any(), "proj_1").Return(done(), nil)
			f.completions.EXPECT().Add(gomock.Any(), "proj_1", gomock.Any(), gomock.Any()).Return(false, errDown)
			require.NoError(t, s.Sweep(context.Background()))
		}
		require.Equal(t, []string{
			"bad again=false", "worse again=false", "proj_1 again=false", "bad again=true", "worse again=true", "proj_1 again=true",
		}, f.observer.passed)
		f.expectOpen("bad")
		f.open.EXPECT().Check(gomock.Any(), "bad").Return(running(), nil) // repaired
		require.NoError(t, s.Sweep(context.Background()))
		f.expectOpen("bad")
		f.open.EXPECT().Check(gomock.Any(), "bad").Return(project.Change{}, errDown)
		f.open.EXPECT().Postpone(gomock.Any(), "bad")
		require.NoError(t, s.Sweep(context.Background()))
		require.Equal(t, "bad again=false", f.observer.passed[6])
	})
	t.Run("stops when no project would fare better", func(t *testing.T) {
		t.Parallel()
		for name, prepare := range map[string]func(f fixture){
			"listing": func(f fixture) {
				f.open.EXPECT().ListOpen(gomock.Any(), gomock.Any(), gomock.Any()).Return(nil, errDown)
			},
			"checking": func(f fixture) {
				f.expectOpen("proj_1", "proj_2")
				f.open.EXPECT().Check(gomock.Any(), "proj_1").Return(project.Change{}, errDown)
				f.open.EXPECT().Postpone(gomock.Any(), "proj_1").Return(errDown)
			},
			"signalling": func(f fixture) {
				f.expectOpen("proj_1", "proj_2", "proj_3", "proj_4")
				f.open.EXPECT().Check(gomock.Any(), gomock.Any()).Return(done(), nil).Times(3)
				f.completions.EXPECT().Add(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Return(false, errDown).Times(3)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				prepare(f)
				require.ErrorIs(t, usecase.NewSweeper(f.deps).Sweep(context.Background()), errDown)
				require.Empty(t, f.events.Events())
			})
		}
	})
	t.Run("sweeps every 5 s and reports an outage once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.observer.sweeps = make(chan error, 10)
			ctx, cancel := context.WithCancel(context.Background())
			gomock.InOrder(
				f.expectOpen(),
				f.open.EXPECT().ListOpen(gomock.Any(), gomock.Any(), gomock.Any()).Return(nil, errDown).Times(3),
				f.expectOpen().Times(2),
				f.open.EXPECT().ListOpen(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
					func(ctx context.Context, _ time.Duration, _ int) ([]string, error) {
						cancel() // during a sweep
						return nil, ctx.Err()
					}),
			)
			began := time.Now()
			require.NoError(t, usecase.NewSweeper(f.deps).Run(ctx))
			require.Equal(t, 7*5*time.Second, time.Since(began))
			close(f.observer.sweeps)
			require.ErrorIs(t, <-f.observer.sweeps, errDown)
			require.NoError(t, <-f.observer.sweeps, "recovered")
			require.Empty(t, f.observer.sweeps, "a stop is no outage")
		})
	})
}
