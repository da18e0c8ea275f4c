package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
	"github.com/smap-platform/identity/test/harness"
)

const (
	// markCount items are marked by every side of a row.
	markCount = 20_000
	// many is how many workers the rows with many have, markBatch how many items one call of the batched rows marks.
	many, markBatch = 64, 100
	benchProject    = "proj_bench"
)

// progressBench is our project store beside bare commands.
type progressBench struct {
	client *goredis.Client
	store  *redisdb.Store
	call   []any // a bare EVALSHA of the mark of one item, as the store sends it
	item   int   // where in it the item's id is
}

// progress measures counting and reading. Each side counts a project from nothing.
func (b *bench) progress(ctx context.Context) error {
	s, err := b.start(ctx)
	if err != nil {
		return err
	}
	client := b.openRedis(s)
	defer func() { _ = client.Close() }() // nothing is pending
	p := &progressBench{client: client, store: redisdb.New(client)}
	if err := p.learnCall(ctx); err != nil {
		return err
	}
	single := func(ctx context.Context, ids []string) error { return mark(ctx, p.store, benchProject, ids...) }
	one, crowd, batches := spread(1, 1, single), spread(many, 1, single), spread(many, markBatch, single)
	comparisons := []comparison{
		{what: "mark, 1 worker; bare: EVALSHA of the same script", aim: 0.93, ours: one, bare: spread(1, 1, p.evalsha)},
		{what: "mark, 1 worker; bare: the four commands", aim: 2.5, ours: one, bare: spread(1, 1, p.fourCommands)},
		{what: "mark, 64 workers; bare: the four commands", aim: 2, ours: crowd, bare: spread(many, 1, p.fourCommands)},
		{what: "batches of 100, 1 worker; bare: singles", aim: 8, ours: spread(1, markBatch, single), bare: one},
		{what: "batches of 100, 64 workers; bare: singles", aim: 6, ours: batches, bare: crowd},
		{what: "progress, 1 worker; bare: HGETALL", aim: 0.8, ours: spread(1, 1, p.read), bare: spread(1, 1, p.hgetall)},
	}
	for i, c := range comparisons {
		c.n = markCount
		c.prepare = p.begin
		if i < len(comparisons)-1 { // the last one only reads
			c.verify = p.verify
		}
		if err := b.compare(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// openRedis opens our client on the Redis database of a System.
func (b *bench) openRedis(s *harness.System) *goredis.Client {
	return redis.Open(redis.Options{
		Addr:     b.config.Redis.Addr(),
		Password: string(b.config.Redis.Password),
		DB:       s.Redis.Options().DB,
		PoolSize: many,
	})
}

// mark marks items through our store.
func mark(ctx context.Context, store *redisdb.Store, id string, ids ...string) error {
	items := make([]project.Item, len(ids))
	for i := range ids {
		items[i].ID = ids[i]
	}
	_, err := store.Mark(ctx, id, items)
	return err
}

// begin starts the project anew. Its total is out of reach, so that every mark does the same work.
func (p *progressBench) begin(ctx context.Context) error {
	if err := p.client.FlushDB(ctx).Err(); err != nil {
		return err
	}
	_, err := p.store.Init(ctx, benchProject, uuid.NewString(), 10*markCount)
	return err
}

func (p *progressBench) verify(ctx context.Context) error {
	have, _, err := p.store.Progress(ctx, benchProject)
	if err == nil && have.Done != markCount {
		err = fmt.Errorf("%d items were marked, %d are counted", markCount, have.Done)
	}
	return err
}

// spread makes a side of markCount items, shared by workers that call do with so many of them at a time.
func spread(workers, each int, do func(ctx context.Context, ids []string) error) side {
	return timed(func(ctx context.Context) error {
		var next atomic.Int64
		return inParallel(workers, func(int) error {
			ids := make([]string, each)
			for {
				last := int(next.Add(int64(each)))
				if last > markCount {
					return nil
				}
				for i := range ids {
					ids[i] = "item-" + strconv.Itoa(last-i)
				}
				if err := do(ctx, ids); err != nil {
					return err
				}
			}
		})
	})
}

// learnCall records the arguments of the store's EVALSHA for one item.
func (p *progressBench) learnCall(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	last := &lastCommand{}
	o := p.client.Options()
	client := redis.Open(redis.Options{Addr: o.Addr, Password: o.Password, DB: o.DB})
	defer func() { _ = client.Close() }() // nothing is pending
	client.AddHook(last)
	const item = "an item to look for"
	for range 2 { // the first may have to load the script
		if err := mark(ctx, redisdb.New(client), benchProject, item); err != nil {
			return err
		}
	}
	p.call = last.args
	if p.item = slices.Index(p.call, any(item)); p.item < 0 {
		return errors.New("the store's call does not contain the item")
	}
	return nil
}

// lastCommand is a hook that keeps the last command.
type lastCommand struct{ args []any }

func (l *lastCommand) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (l *lastCommand) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		l.args = slices.Clone(cmd.Args())
		return next(ctx, cmd)
	}
}

func (l *lastCommand) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// evalsha is the script alone: no keys built, no reply decoded.
func (p *progressBench) evalsha(ctx context.Context, ids []string) error {
	call := slices.Clone(p.call)
	call[p.item] = ids[0]
	return p.client.Do(ctx, call...).Err()
}

// fourCommands is how services count without a script: read, then write, racing with the others.
func (p *progressBench) fourCommands(ctx context.Context, _ []string) error {
	key := redisdb.Key(benchProject)
	done, err := p.client.HIncrBy(ctx, key, "done", 1).Result()
	if err != nil {
		return err
	}
	total, err := p.client.HGet(ctx, key, "total").Int64()
	if err != nil {
		return err
	}
	status, err := p.client.HGet(ctx, key, "status").Result()
	if err != nil {
		return err
	}
	if done >= total {
		status = "DONE"
	}
	return p.client.HSet(ctx, key, "status", status).Err()
}

func (p *progressBench) read(ctx context.Context, _ []string) error {
	_, _, err := p.store.Progress(ctx, benchProject)
	return err
}

func (p *progressBench) hgetall(ctx context.Context, _ []string) error {
	return p.client.HGetAll(ctx, redisdb.Key(benchProject)).Err()
}
