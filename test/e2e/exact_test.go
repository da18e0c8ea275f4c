//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	domain "github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/test/harness"
)

// thousandWorkers has a thousand workers mark a hundred items each, every item three times. All of them are counted
// once, and the finish line is crossed once.
func thousandWorkers(t *testing.T) {
	t.Parallel()
	const workers, each, times = 1000, 100, 3
	s := harness.New(t, harness.Options{})
	store, id := redisdb.New(s.Redis), "proj_"+uuid.NewString()
	_, err := store.Init(t.Context(), id, uuid.NewString(), 0)
	require.NoError(t, err)
	_, err = store.SetTotal(t.Context(), id, workers*each, true)
	require.NoError(t, err)
	var crossed atomic.Int64
	var group errgroup.Group
	for w := range workers {
		group.Go(func() error {
			for i := range times * each {
				item := domain.Item{ID: fmt.Sprintf("item-%d-%d", w, i%each)}
				change, err := store.Mark(t.Context(), id, []domain.Item{item})
				if err != nil {
					return err
				}
				if change.Crossed {
					crossed.Add(1)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	have, _, err := store.Progress(t.Context(), id)
	require.NoError(t, err)
	require.EqualValues(t, workers*each, have.Done)
	require.Equal(t, domain.StatusDone, have.Status)
	require.EqualValues(t, 1, crossed.Load())
}

// exactEnd has workers mark items at two apis, every item twice, while many people watch. The total comes last: it is
// counted exactly, every stream sees the end, and the end is announced once.
func exactEnd(t *testing.T) {
	t.Parallel()
	const workers, each, watchers, tabs = 100, 20, 8, 15
	const streams = watchers * tabs
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1})
	recorded := recordEvents(t, s)
	owner := verified(t, s)
	id := "proj_" + uuid.NewString()
	internal := func(method, path string, body any) (harness.Answer, error) {
		return harness.Expect(http.StatusOK)(s.Client().Call(t.Context(), method, "/internal/projects/"+id+path, body,
			"X-Internal-Key", os.Getenv("INTERNAL_KEY")))
	}
	_, err := internal(http.MethodPost, "", map[string]any{"user_id": owner.id, "total": 1 << 40})
	require.NoError(t, err)

	people := []*person{owner}
	for range watchers - 1 {
		admin := verified(t, s)
		require.Zero(t, s.Command(nil, harness.API, "user", "promote", admin.email, "--by", "a test").Code)
		want(t, http.StatusOK)(admin.client.Login(t.Context(), admin.email, harness.Password, false))
		people = append(people, admin)
	}
	var open, completed atomic.Int64
	var watching, marking errgroup.Group
	for i := range streams {
		watching.Go(func() error {
			first := true
			return people[i%watchers].client.Stream(t.Context(), "/projects/"+id+"/progress/stream", func(e harness.ServerEvent) {
				if first {
					open.Add(1)
				}
				if first = false; e.Name == "completed" {
					completed.Add(1)
				}
			})
		})
	}
	harness.Soon(t, func() error {
		if n := open.Load(); n < streams {
			return fmt.Errorf("%d of %d streams are open", n, streams)
		}
		return nil
	})
	for w := range workers {
		marking.Go(func() error {
			for i := range 2 * each {
				item := map[string]string{"item_id": fmt.Sprintf("item-%d-%d", w, i/2)}
				if _, err := internal(http.MethodPost, "/items", map[string]any{"items": []any{item}}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, marking.Wait())
	a, err := internal(http.MethodPut, "/total", map[string]any{"total": workers * each, "final": true})
	require.NoError(t, err)
	var have progress
	require.NoError(t, json.Unmarshal(a.Data, &have))
	require.Equal(t, workers*each, have.Done)
	require.Zero(t, have.Errors)
	require.Equal(t, "DONE", have.Status)
	require.NoError(t, watching.Wait())
	require.EqualValues(t, streams, completed.Load())
	require.Equal(t, workers*each, announced(t, s, recorded, id).Done)
	require.Len(t, announcements(t, s, recorded, id), 1)
	require.Equal(t, 1, s.Count("SELECT count(*) FROM project_completions"))
}
