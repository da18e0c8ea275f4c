package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/usecase"
)

func mark(f fixture, ctx context.Context) (project.Change, error) {
	return f.counting().Mark(ctx, "proj_1", []project.Item{{ID: "a"}})
}

func (f fixture) expectDone() {
	f.store.EXPECT().Mark(gomock.Any(), gomock.Any(), gomock.Any()).Return(done(), nil)
	f.updates.EXPECT().Publish(gomock.Any(), gomock.Any())
}

func TestCompletedEventID(t *testing.T) {
	t.Parallel()
	// Consumers recognise a repeated event by its id: it must never change.
	t.Run("is derived from the project id", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "evt_484f0be3-561d-5046-9f6f-eb07eb6ea3a9", usecase.CompletedEventID("proj_1"))
		require.NotEqual(t, usecase.CompletedEventID("proj_1"), usecase.CompletedEventID("proj_2"))
		require.EqualValues(t, 5, uuid.MustParse(usecase.CompletedEventID("x")[len("evt_"):]).Version())
	})
}

func TestSignal(t *testing.T) {
	t.Parallel()
	t.Run("stores one event per project", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.expectDone()
		f.expectSignal(false)
		_, err := mark(f, context.Background())
		require.NoError(t, err)
		require.Empty(t, f.events.Events())
		require.Empty(t, f.observer.completed)
		require.Empty(t, f.observer.failed)
	})
	t.Run("works without a listener", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.deps.Listener = nil
		f.expectDone()
		f.completions.EXPECT().Add(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Return(true, nil)
		f.open.EXPECT().MarkSignalled(gomock.Any(), "proj_1").Return(nil)
		_, err := mark(f, context.Background())
		require.NoError(t, err)
		require.Len(t, f.events.Events(), 1)
	})
	// The mark is counted: the sweeper repeats the signal, the caller need not repeat the mark.
	t.Run("reports a failure to the observer and not to the caller", func(t *testing.T) {
		t.Parallel()
		added := func(f fixture) {
			f.completions.EXPECT().Add(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Return(true, nil)
		}
		listened := func(f fixture, err error) {
			f.listener.EXPECT().ProjectCompleted(gomock.Any(), gomock.Any()).Return(err)
		}
		tests := map[string]struct {
			prepare   func(f fixture)
			ends      string
			completed int
		}{
			"storing the completion": {func(f fixture) {
				f.completions.EXPECT().Add(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Return(false, errDown)
			}, "rollback", 0},
			"publishing":   {func(f fixture) { added(f); f.events.Err = errDown }, "rollback", 0},
			"the listener": {func(f fixture) { added(f); listened(f, errDown) }, "rollback", 0},
			"the commit":   {func(f fixture) { added(f); listened(f, nil); f.tx.commit = errDown }, "rollback", 0},
			"marking the project": {func(f fixture) {
				added(f)
				listened(f, nil)
				f.open.EXPECT().MarkSignalled(gomock.Any(), gomock.Any()).Return(errDown)
			}, "commit", 1},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.expectDone()
				tt.prepare(f)
				got, err := mark(f, context.Background())
				require.NoError(t, err)
				require.Equal(t, done(), got)
				require.Equal(t, []string{tt.ends}, f.tx.ends)
				require.Len(t, f.observer.failed, 1)
				require.ErrorIs(t, f.observer.failed[0], errDown)
				require.Len(t, f.observer.completed, tt.completed)
			})
		}
	})
	// The client that marks the last item may disconnect at once.
	t.Run("outlives the caller's context", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		ctx, cancel := context.WithCancel(context.Background())
		f.expectDone()
		f.completions.EXPECT().Add(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, _, _ string, _ time.Time) (bool, error) {
				cancel()
				return true, ctx.Err()
			})
		f.listener.EXPECT().ProjectCompleted(gomock.Any(), gomock.Any()).Return(nil)
		f.open.EXPECT().MarkSignalled(gomock.Any(), gomock.Any()).DoAndReturn(func(ctx context.Context, _ string) error {
			_, bounded := ctx.Deadline()
			require.True(t, bounded)
			return ctx.Err()
		})
		_, err := mark(f, ctx)
		require.NoError(t, err)
		require.Empty(t, f.observer.failed)
	})
}
