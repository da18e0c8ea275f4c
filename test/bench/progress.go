package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
)

const (
	// markCount items are marked by every side of a row.
	markCount = 20_000
	// crowd is how many workers the rows with many have, markBatch how many items one call of the batched rows marks.
	crowd, markBatch = 64, 100
)

// progressBench is the tracker beside bare commands, on the state database of the stack.
type progressBench struct {
	client  *goredis.Client
	tracker *redisdb.Store
	id      string // of the project that the side under way counts
	call    []any  // a bare EVALSHA of the mark of one item, as the tracker sends it
	item    int    // where in it the item's id is
}

// benchProgress measures counting and reading. Each side counts a project of its own, from nothing.
func benchProgress(ctx context.Context, s settings, t *tables) error {
	r := s.stack.Redis
	client := redis.Open(redis.Options{Addr: r.Addr(), Password: string(r.Password), DB: r.StateDB, PoolSize: crowd})
	defer func() { _ = client.Close() }()
	b := &progressBench{client: client, tracker: redisdb.New(client)}
	defer b.forget(ctx)
	if err := b.learnCall(ctx); err != nil {
		return err
	}
	singles := func(workers int) side {
		return b.spread(workers, 1, func(ctx context.Context, ids []string) error {
			_, err := b.tracker.Mark(ctx, b.id, []project.Item{{ID: ids[0]}})
			return err
		})
	}
	batches := func(workers int) side {
		return b.spread(workers, markBatch, func(ctx context.Context, ids []string) error {
			items := make([]project.Item, len(ids))
			for i, id := range ids {
				items[i].ID = id
			}
			_, err := b.tracker.Mark(ctx, b.id, items)
			return err
		})
	}
	rows := []comparison{
		{what: "mark, 1 worker; bare: EVALSHA of the same script", ours: singles(1), bare: b.spread(1, 1, b.bareCall), aim: 0.90},
		{what: "mark, 1 worker; bare: the four commands", ours: singles(1), bare: b.spread(1, 1, b.fourCommands), aim: 2.5},
		{what: "mark, 64 workers; bare: the four commands", ours: singles(crowd), bare: b.spread(crowd, 1, b.fourCommands), aim: 1.7},
		{what: "batches of 100, 1 worker; bare: singles", ours: batches(1), bare: singles(1), aim: 8},
		{what: "batches of 100, 64 workers; bare: singles", ours: batches(crowd), bare: singles(crowd), aim: 6},
	}
	for _, row := range rows {
		row.n, row.prepare, row.verify = markCount, b.begin, b.counted
		if err := row.interleave(ctx, s, t); err != nil {
			return err
		}
	}
	if err := b.benchReading(ctx, s, t); err != nil {
		return err
	}
	return b.benchCrowd(ctx, t)
}

// begin opens the next project; the total is out of reach, so that every mark does the same work.
func (b *progressBench) begin(ctx context.Context) error {
	b.forget(ctx)
	before := b.id
	b.id = "proj_bench_" + uuid.NewString()
	for i, arg := range b.call {
		if text, ok := arg.(string); ok {
			b.call[i] = strings.Replace(text, before, b.id, 1)
		}
	}
	_, err := b.tracker.Init(ctx, b.id, uuid.NewString(), 10*markCount)
	return err
}

// forget removes the last project. What it leaves behind ends by itself.
func (b *progressBench) forget(ctx context.Context) {
	if b.id == "" {
		return
	}
	if err := b.tracker.Forget(context.WithoutCancel(ctx), b.id); err != nil {
		fmt.Fprintln(os.Stderr, "bench: a project left behind in redis:", err)
	}
}

func (b *progressBench) counted(ctx context.Context) error {
	p, err := b.tracker.Progress(ctx, b.id)
	if err == nil && p.Done != markCount {
		err = fmt.Errorf("%d items were marked, %d are counted", markCount, p.Done)
	}
	return err
}

// spread makes a side of markCount items, shared by workers that do a call with so many of them at a time.
func (b *progressBench) spread(workers, each int, do func(ctx context.Context, ids []string) error) side {
	return timed(func(ctx context.Context) error {
		var next atomic.Int64
		errs := make([]error, workers)
		var running sync.WaitGroup
		for w := range workers {
			running.Go(func() {
				ids := make([]string, each)
				for {
					last := int(next.Add(int64(each)))
					if last > markCount {
						return
					}
					for i := range ids {
						ids[i] = "item-" + strconv.Itoa(last-i)
					}
					if errs[w] = do(ctx, ids); errs[w] != nil {
						return
					}
				}
			})
		}
		running.Wait()
		return errors.Join(errs...)
	})
}

// learnCall looks over the tracker's shoulder: the arguments of its EVALSHA for one item.
func (b *progressBench) learnCall(ctx context.Context) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	hook := &listen{}
	r := b.client.Options()
	client := redis.Open(redis.Options{Addr: r.Addr, Password: r.Password, DB: r.DB})
	defer func() { _ = client.Close() }()
	client.AddHook(hook)
	const item = "the item whose place is looked for"
	for range 2 { // the first may have to load the script
		if _, err := redisdb.New(client).Mark(ctx, b.id, []project.Item{{ID: item}}); err != nil {
			return err
		}
	}
	b.call = hook.last
	b.item = slices.Index(b.call, any(item))
	if b.item < 0 {
		return errors.New("the tracker's call does not have the item where it was looked for")
	}
	return nil
}

// listen is a hook that keeps the last command.
type listen struct{ last []any }

func (l *listen) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (l *listen) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		l.last = slices.Clone(cmd.Args())
		return next(ctx, cmd)
	}
}

func (l *listen) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// bareCall is the script without what is around it: no keys built, no answer read.
func (b *progressBench) bareCall(ctx context.Context, ids []string) error {
	call := slices.Clone(b.call)
	call[b.item] = ids[0]
	return b.client.Do(ctx, call...).Err()
}

// fourCommands is how services count without a script: read, then write, racing with everybody else.
func (b *progressBench) fourCommands(ctx context.Context, _ []string) error {
	key := redisdb.Key(b.id)
	done, err := b.client.HIncrBy(ctx, key, "done", 1).Result()
	if err != nil {
		return err
	}
	total, err := b.client.HGet(ctx, key, "total").Int64()
	if err != nil {
		return err
	}
	status, err := b.client.HGet(ctx, key, "status").Result()
	if err != nil {
		return err
	}
	if done >= total {
		status = "DONE"
	}
	return b.client.HSet(ctx, key, "status", status).Err()
}

// benchReading measures reading by package.
func (b *progressBench) benchReading(ctx context.Context, s settings, t *tables) error {
	read := func(do func(ctx context.Context) error) side {
		return timed(func(ctx context.Context) error {
			for range markCount {
				if err := do(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return comparison{
		what: "progress, 1 worker; bare: HGETALL", n: markCount, aim: 0.8, prepare: b.begin,
		ours: read(func(ctx context.Context) error { _, err := b.tracker.Progress(ctx, b.id); return err }),
		bare: read(func(ctx context.Context) error {
			return b.client.HGetAll(ctx, redisdb.Key(b.id)).Err()
		}),
		verify: func(context.Context) error { return nil },
	}.interleave(ctx, s, t)
}

// benchCrowd has a thousand workers mark a hundred items each, every one three times, and counts the crossings.
func (b *progressBench) benchCrowd(ctx context.Context, t *tables) error {
	const workers, each, times = 1000, 100, 3
	if err := b.begin(ctx); err != nil {
		return err
	}
	if _, err := b.tracker.SetTotal(ctx, b.id, workers*each, true); err != nil {
		return err
	}
	var crossed atomic.Int64
	errs := make([]error, workers)
	started := time.Now()
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for range times {
				for i := range each {
					c, err := b.tracker.Mark(ctx, b.id, []project.Item{{ID: fmt.Sprintf("item-%d-%d", w, i)}})
					if err != nil {
						errs[w] = err
						return
					}
					if c.Crossed {
						crossed.Add(1)
					}
				}
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p, err := b.tracker.Progress(ctx, b.id)
	if err != nil {
		return err
	}
	if p.Done != workers*each || p.Status != project.StatusDone || crossed.Load() != 1 {
		return fmt.Errorf("1,000 workers × 100 items × 3: done %d, status %s, %d crossings", p.Done, p.Status, crossed.Load())
	}
	t.notes = append(t.notes, fmt.Sprintf("1,000 workers × 100 items, each delivered 3 times, in %s: done = %d exactly, the finish line crossed once.",
		time.Since(started).Round(time.Second), p.Done))
	return nil
}
