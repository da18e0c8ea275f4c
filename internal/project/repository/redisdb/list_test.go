package redisdb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
)

// TestList pages through 10,000 open projects, of which many were touched in the same millisecond.
func TestList(t *testing.T) {
	t.Parallel()
	client := redis.Open(redis.Options{Addr: miniredis.RunT(t).Addr()})
	store := redisdb.New(client)
	at := time.UnixMilli(1_764_000_000_000).UTC()
	const open = 10_000
	pipe := client.Pipeline()
	for i := range open {
		id, status := fmt.Sprintf("p%05d", i), "PROCESSING"
		if i == 7 {
			status = "FAILED"
		}
		pipe.ZAdd(t.Context(), redisdb.OpenKey, goredis.Z{Score: float64(at.UnixMilli() + int64(i/2000)), Member: id})
		pipe.HSet(t.Context(), redisdb.Key(id), "status", status, "total", 4, "done", 1)
		if i%250 == 249 {
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
		}
	}

	all := func(project.Progress) bool { return true }
	var after redisdb.Touched
	seen := 0
	for {
		page, err := store.List(t.Context(), after, 700, all)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, p := range page {
			require.Equal(t, fmt.Sprintf("p%05d", open-1-seen), p.ProjectID, "each once, in order")
			require.InDelta(t, 25, p.Percent(), 0)
			seen++
		}
		after = page[len(page)-1]
	}
	require.Equal(t, open, seen)

	failed, err := store.List(t.Context(), redisdb.Touched{}, 50, func(p project.Progress) bool { return p.Status == project.StatusFailed })
	require.NoError(t, err)
	require.Len(t, failed, 1)
	require.Equal(t, "p00007", failed[0].ProjectID)

	hash, err := store.Hash(t.Context(), "p00007")
	require.NoError(t, err)
	require.Equal(t, redisdb.Hash{Fields: map[string]string{"status": "FAILED", "total": "4", "done": "1"}, Touched: at}, hash)
	hash, err = store.Hash(t.Context(), "nothing")
	require.NoError(t, err)
	require.Equal(t, redisdb.Hash{Fields: map[string]string{}}, hash)

	require.NoError(t, client.Set(t.Context(), redisdb.Key("odd"), "x", 0).Err())
	many, err := store.Many(t.Context(), []string{"odd", "nothing", "p00007"})
	require.NoError(t, err)
	require.Equal(t, []bool{false, false, true}, []bool{many[0].Found(), many[1].Found(), many[2].Found()})
	require.NoError(t, client.Close())
	_, err = store.List(t.Context(), redisdb.Touched{}, 1, all)
	require.ErrorIs(t, err, project.ErrUnavailable)
}
