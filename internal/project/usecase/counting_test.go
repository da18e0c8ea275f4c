package usecase_test

import (
	"context"
	"strings"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/usecase"
)

// verb is a verb that changes a project, and the call of the store that it makes.
type verb struct {
	name   string
	call   func(c *usecase.Counting, ctx context.Context) (project.Change, error)
	expect func(f fixture) *gomock.Call
}

func verbs() []verb {
	items := []project.Item{{ID: "a"}, {ID: "b", Failed: true}}
	return []verb{
		{"init", func(c *usecase.Counting, ctx context.Context) (project.Change, error) {
			return c.Init(ctx, "proj_1", "user-1", 4)
		}, func(f fixture) *gomock.Call {
			return f.store.EXPECT().Init(gomock.Any(), "proj_1", "user-1", int64(4))
		}},
		{"total", func(c *usecase.Counting, ctx context.Context) (project.Change, error) {
			return c.SetTotal(ctx, "proj_1", 4, true)
		}, func(f fixture) *gomock.Call {
			return f.store.EXPECT().SetTotal(gomock.Any(), "proj_1", int64(4), true)
		}},
		{"mark", func(c *usecase.Counting, ctx context.Context) (project.Change, error) {
			return c.Mark(ctx, "proj_1", items)
		}, func(f fixture) *gomock.Call { return f.store.EXPECT().Mark(gomock.Any(), "proj_1", items) }},
		{"fail", func(c *usecase.Counting, ctx context.Context) (project.Change, error) {
			return c.Fail(ctx, "proj_1", "no quota")
		}, func(f fixture) *gomock.Call { return f.store.EXPECT().Fail(gomock.Any(), "proj_1", "no quota") }},
	}
}

// everyVerb runs test with each of the verbs, which all end the same way.
func everyVerb(t *testing.T, test func(t *testing.T, f fixture, v verb)) {
	t.Parallel()
	for _, v := range verbs() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			test(t, newFixture(t), v)
		})
	}
}

func TestCounting(t *testing.T) {
	t.Parallel()
	t.Run("publishes a change", func(t *testing.T) {
		everyVerb(t, func(t *testing.T, f fixture, v verb) {
			v.expect(f).Return(running(), nil)
			f.updates.EXPECT().Publish("user-1", running().Progress)
			got, err := v.call(f.counting(), context.Background())
			require.NoError(t, err)
			require.Equal(t, running(), got)
			require.Empty(t, f.events.Events())
			require.Empty(t, f.tx.ends, "no event, no transaction")
		})
	})
	t.Run("stores job.completed for a project that it finds done", func(t *testing.T) {
		everyVerb(t, func(t *testing.T, f fixture, v verb) {
			v.expect(f).Return(done(), nil)
			f.updates.EXPECT().Publish("user-1", done().Progress)
			f.expectSignal(true)
			got, err := v.call(f.counting(), context.Background())
			require.NoError(t, err)
			require.Equal(t, done(), got)
			require.Equal(t, []event.Event{{
				ID: usecase.CompletedEventID("proj_1"), Key: event.JobCompleted, Time: now, ProjectID: "proj_1",
				Data: event.JobCompletedData{ProjectID: "proj_1", UserID: "user-1", Total: 4, Done: 4, Errors: 1, CompletedAt: now},
			}}, f.events.Events())
			require.Equal(t, []project.Completion{completion()}, f.observer.completed)
		})
	})
	// A refused call may find a project that a crash left open.
	t.Run("stores job.completed even if the change is refused", func(t *testing.T) {
		everyVerb(t, func(t *testing.T, f fixture, v verb) {
			refused := done()
			refused.Refused = true
			v.expect(f).Return(refused, nil)
			f.expectSignal(true)
			got, err := v.call(f.counting(), context.Background())
			require.ErrorIs(t, err, project.ErrFinal)
			require.Equal(t, refused, got)
			require.Len(t, f.events.Events(), 1)
		})
	})
	t.Run("returns ErrNotFound for a missing project", func(t *testing.T) {
		everyVerb(t, func(t *testing.T, f fixture, v verb) {
			v.expect(f).Return(project.Change{Progress: project.Progress{ProjectID: "proj_1", Status: project.StatusNotFound}}, nil)
			_, err := v.call(f.counting(), context.Background())
			require.ErrorIs(t, err, project.ErrNotFound)
		})
	})
	t.Run("returns the store's error", func(t *testing.T) {
		everyVerb(t, func(t *testing.T, f fixture, v verb) {
			v.expect(f).Return(done(), project.ErrUnavailable.WithCause(errDown))
			got, err := v.call(f.counting(), context.Background())
			require.ErrorIs(t, err, project.ErrUnavailable)
			require.Zero(t, got)
		})
	})
	t.Run("rejects invalid input before it reaches the store", func(t *testing.T) {
		t.Parallel()
		long, ctx := strings.Repeat("a", 501), context.Background()
		tests := map[string]func(c *usecase.Counting) error{
			"init, project": func(c *usecase.Counting) error { _, err := c.Init(ctx, "", "user-1", 0); return err },
			"init, owner":   func(c *usecase.Counting) error { _, err := c.Init(ctx, "p", "", 0); return err },
			"init, total":   func(c *usecase.Counting) error { _, err := c.Init(ctx, "p", "user-1", -1); return err },
			"total, id":     func(c *usecase.Counting) error { _, err := c.SetTotal(ctx, "a\nb", 1, true); return err },
			"total, value":  func(c *usecase.Counting) error { _, err := c.SetTotal(ctx, "p", -1, true); return err },
			"mark, id":      func(c *usecase.Counting) error { _, err := c.Mark(ctx, long, []project.Item{{ID: "a"}}); return err },
			"mark, none":    func(c *usecase.Counting) error { _, err := c.Mark(ctx, "p", nil); return err },
			"mark, item":    func(c *usecase.Counting) error { _, err := c.Mark(ctx, "p", []project.Item{{}}); return err },
			"fail, id":      func(c *usecase.Counting) error { _, err := c.Fail(ctx, "", "why"); return err },
			"fail, reason":  func(c *usecase.Counting) error { _, err := c.Fail(ctx, "p", long); return err },
			"forget":        func(c *usecase.Counting) error { return c.Forget(ctx, "") },
		}
		for name, call := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				require.ErrorIs(t, call(newFixture(t).counting()), project.ErrBody)
			})
		}
	})
	t.Run("forgets a project", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.store.EXPECT().Forget(gomock.Any(), "proj_1").Return(nil)
		require.NoError(t, f.counting().Forget(context.Background(), "proj_1"))
	})
}
