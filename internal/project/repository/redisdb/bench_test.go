package redisdb_test

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
)

// BenchmarkMark compares counting with the four commands it replaces; test/bench measures the same with more care. Only on
// a real Redis: what is interesting is what a script costs there.
func BenchmarkMark(b *testing.B) {
	if os.Getenv("INTEGRATION") == "" {
		b.Skip("INTEGRATION is not set: there is no Redis to measure")
	}
	options := realOptions(b)
	options.PoolSize, options.PoolTimeout = 64, time.Minute
	client := redis.Open(options)
	defer func() { require.NoError(b, client.Close()) }()
	store := redisdb.New(client)
	for _, workers := range []int{1, 64} {
		var next atomic.Int64
		run := func(name string, items int, one func(id string, first int64) error) {
			b.Run(fmt.Sprintf("%s/workers=%d", name, workers), func(b *testing.B) {
				id := uuid.NewString()
				_, err := store.Init(ctx, id, owner, 1<<50)
				require.NoError(b, err)
				defer func() { require.NoError(b, store.Forget(ctx, id)) }()
				spread(b, workers, func() error { return one(id, next.Add(int64(items))) })
				b.ReportMetric(float64(b.N*items)/b.Elapsed().Seconds(), "items/s")
			})
		}
		mark := func(items int) func(id string, first int64) error {
			return func(id string, first int64) error {
				batch := make([]project.Item, items)
				for i := range batch {
					batch[i].ID = "evt_019a2b3c-0000-7000-8000-" + strconv.FormatInt(first+int64(i), 16)
				}
				_, err := store.Mark(ctx, id, batch)
				return err
			}
		}
		run("four", 1, func(id string, _ int64) error { return four(client, redisdb.Key(id)) })
		run("mark", 1, mark(1))
		run("batch100", 100, mark(100))
	}
}

// four is what services do today: it counts redelivered items again, and two of them see the finish line.
func four(client *goredis.Client, key string) error {
	if err := client.HIncrBy(ctx, key, "done", 1).Err(); err != nil {
		return err
	}
	if err := client.HGet(ctx, key, "total").Err(); err != nil {
		return err
	}
	if err := client.HGet(ctx, key, "status").Err(); err != nil {
		return err
	}
	return client.HSet(ctx, key, "status", "PROCESSING").Err()
}

func spread(b *testing.B, workers int, one func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, workers)
	b.ResetTimer()
	for range workers {
		go func() {
			var err error
			for err == nil && left.Add(-1) >= 0 {
				err = one()
			}
			done <- err
		}()
	}
	for range workers {
		require.NoError(b, <-done)
	}
	b.StopTimer()
}
