package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
)

const (
	loadTime    = time.Minute
	workerCount = 1000 // half of them over HTTP, half by package; each marks every item twice
	streamCount = 1000
	streamTime  = 20 * time.Second
	flatOutTime = 10 * time.Second
)

// runLoad is a minute of workers that mark an item a second each, and of readers, on one project of one api; then as much
// with open streams, for some seconds; then the workers as fast as they can, with the streams still open. It ends with the
// project's end, which has to be exact, and told once.
func runLoad(ctx context.Context, s settings, t *tables) error {
	if s.seconds == 0 {
		s.seconds = loadTime
	}
	folder, removeBinaries, err := buildBinaries(ctx)
	if err != nil {
		return err
	}
	defer removeBinaries()
	r := s.stack.Redis
	state := redis.Open(redis.Options{Addr: r.Addr(), Password: string(r.Password), DB: r.StateDB, PoolSize: 64})
	defer func() { _ = state.Close() }()
	l := &loadRun{state: state, tracker: redisdb.New(state)}
	if l.subscribed, err = subscriptions(ctx, state); err != nil {
		return err
	}
	l.watched, err = watchedProject(ctx, s, folder)
	defer l.close()
	if err != nil {
		return err
	}
	l.remember("idle")
	if err := l.steadily(ctx, s.seconds, "", readerAim, t); err != nil {
		return err
	}
	l.remember("after the readers")
	if err := l.withStreams(ctx, t); err != nil {
		return err
	}
	if err := l.flatOut(ctx, t); err != nil {
		return err
	}
	if err := l.finish(ctx); err != nil {
		return err
	}
	t.notes = append(t.notes,
		fmt.Sprintf("%d items were marked by %d workers, nearly all of them twice: done is exact, and the end was told once.", l.marked.Load(), workerCount),
		fmt.Sprintf("memory of the api: %s (of which hashing a password took 64 MiB once)", strings.Join(l.memories, ", ")))
	return l.memoryErr
}

// remember notes the memory of the api.
func (l *loadRun) remember(when string) {
	now, _, err := l.processes[0].memory()
	l.memories = append(l.memories, mib(now)+" "+when)
	l.memoryErr = errors.Join(l.memoryErr, err)
}

// steadily has workers and readers work for that long, and says what they have waited.
func (l *loadRun) steadily(ctx context.Context, d time.Duration, besides string, aim time.Duration, t *tables) error {
	l.phase, l.paced, l.overHTTP, l.byPackage = l.phase+1, true, nil, nil
	var working sync.WaitGroup
	var markErr error
	working.Go(func() { markErr = l.mark(ctx, d) })
	took, err := l.readSteadily(ctx, d-time.Second)
	working.Wait()
	t.latencies = append(t.latencies,
		latency{fmt.Sprintf("progress over HTTP, %d readers, %d workers%s", readerCount, workerCount, besides), took, map[float64]time.Duration{0.99: aim}},
		latency{fmt.Sprintf("marking over HTTP, the same%s", besides), l.overHTTP, nil},
		latency{fmt.Sprintf("marking by package, the same%s", besides), l.byPackage, nil})
	return errors.Join(err, markErr)
}

// withStreams is steadily with streams, which stay open.
func (l *loadRun) withStreams(ctx context.Context, t *tables) (err error) {
	if l.streams, err = l.openStreams(ctx, streamCount); err != nil {
		return err
	}
	l.remember("with the streams open")
	subscribed, err := subscriptions(ctx, l.state)
	if err != nil {
		return err
	}
	before := l.streams.events.Load()
	if err := l.steadily(ctx, streamTime, fmt.Sprintf(", %d streams", streamCount), 0, t); err != nil {
		return err
	}
	l.remember(fmt.Sprintf("%s later", streamTime))
	t.notes = append(t.notes, fmt.Sprintf("%d open streams had %.1f events a second each; %d subscription at Redis for all of them.",
		streamCount, float64(l.streams.events.Load()-before)/streamCount/streamTime.Seconds(), subscribed-l.subscribed))
	return nil
}

// flatOut has the workers work as fast as they can.
func (l *loadRun) flatOut(ctx context.Context, t *tables) error {
	l.phase, l.paced = l.phase+1, false
	before, started := l.marked.Load(), time.Now()
	if err := l.mark(ctx, flatOutTime); err != nil {
		return err
	}
	l.remember("after the workers went as fast as they can")
	t.notes = append(t.notes, fmt.Sprintf("as fast as the workers can, for %s, with the streams open: %.0f new items a second, and as many again.",
		flatOutTime, float64(l.marked.Load()-before)/time.Since(started).Seconds()))
	return nil
}

// subscriptions is how many connections of this server are subscribed to anything.
func subscriptions(ctx context.Context, client *goredis.Client) (int, error) {
	list, err := client.Do(ctx, "CLIENT", "LIST", "TYPE", "PUBSUB").Text()
	return strings.Count(list, "id="), err
}

// loadRun is what the workers have done.
type loadRun struct {
	*watched
	streams    *streams
	state      *goredis.Client
	tracker    *redisdb.Store
	subscribed int  // connections, before the api was there
	paced      bool // an item a second each; otherwise as fast as it goes
	phase      int  // is part of the items' ids
	marked     atomic.Int64
	memories   []string
	memoryErr  error

	mu                  sync.Mutex
	overHTTP, byPackage []time.Duration
}

// mark has the workers work for that long.
func (l *loadRun) mark(ctx context.Context, d time.Duration) error {
	life, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var working sync.WaitGroup
	errs := make([]error, workerCount)
	for i := range workerCount {
		working.Go(func() {
			select {
			case <-time.After(time.Duration(i) * time.Second / workerCount):
				errs[i] = l.work(ctx, life, i)
			case <-life.Done():
			}
		})
	}
	working.Wait()
	return errors.Join(errs...)
}

// work marks item after item, each time with the one before it again.
func (l *loadRun) work(ctx, life context.Context, worker int) error {
	mark, took := l.watched.mark, &l.overHTTP
	if worker%2 == 1 {
		mark, took = l.markByPackage, &l.byPackage
	}
	pause := time.Nanosecond
	if l.paced {
		pause = time.Second
	}
	var mine []time.Duration
	item := func(n int) string { return fmt.Sprintf("item-%d-%d-%d", l.phase, worker, n) }
	marked := []string{item(0)}
	for n := range everyTick(life, pause) {
		started := time.Now()
		if err := mark(ctx, marked...); err != nil {
			return err
		}
		mine = append(mine, time.Since(started))
		l.marked.Add(1)
		marked = []string{item(n + 1), item(n)}
	}
	if l.paced { // the others only wait for each other
		l.mu.Lock()
		defer l.mu.Unlock()
		*took = append(*took, mine...)
	}
	return nil
}

func (l *loadRun) markByPackage(ctx context.Context, ids ...string) error {
	items := make([]project.Item, len(ids))
	for i, id := range ids {
		items[i].ID = id
	}
	_, err := l.tracker.Mark(ctx, l.id, items)
	return err
}

// finish says how many items there are. That has to be what is counted, end every stream, and be told once.
func (l *loadRun) finish(ctx context.Context) error {
	raw, err := l.answer(ctx, http.MethodPut, "/total", map[string]any{"total": l.marked.Load(), "final": true})
	if err != nil {
		return err
	}
	var answer struct {
		Data struct {
			Status    string `json:"status"`
			Done      int64  `json:"done"`
			Errors    int64  `json:"errors"`
			Completed bool   `json:"completed"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	if a := answer.Data; a.Done != l.marked.Load() || a.Errors != 0 || a.Status != "DONE" || !a.Completed {
		return fmt.Errorf("%d items were marked, and the answer is %s", l.marked.Load(), raw)
	}
	if err := l.streams.end(); err != nil {
		return err
	}
	if n := l.streams.completed.Load(); n != streamCount {
		return fmt.Errorf("%d of %d streams have seen the end", n, streamCount)
	}
	var told int
	err = l.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM project_completions").Scan(&told)
	if err == nil && told != 1 {
		err = fmt.Errorf("the end was told %d times", told)
	}
	return err
}
