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
	"github.com/smap-platform/identity/internal/project/repository/redisstate"
	"github.com/smap-platform/identity/pkg/redis"
)

const (
	loadTime    = time.Minute
	workerCount = 1000 // half of them over HTTP, half by package; each marks every item twice
	flatOutTime = 10 * time.Second
	streamCount = 1000
)

// runLoad is a minute of everything at once on one api: workers that mark an item a second each, readers, and open streams,
// all on the same project; then some seconds of the workers as fast as they can. It ends with the project's end, which has
// to be exact, and told once.
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
	subscribedBefore, err := subscriptions(ctx, state)
	if err != nil {
		return err
	}
	w, err := watchedProject(ctx, s, folder)
	defer w.close()
	if err != nil {
		return err
	}
	l := &loadRun{watched: w, paced: true, tracker: redisstate.New(state)}
	api := w.processes[0]
	idle, _, err := api.memory()
	if err != nil {
		return err
	}
	watching, err := w.openStreams(ctx, streamCount)
	if err != nil {
		return err
	}
	subscribed, err := subscriptions(ctx, state)
	if err != nil {
		return err
	}
	open, _, err := api.memory()
	if err != nil {
		return err
	}
	halfway := make(chan int64, 1)
	time.AfterFunc(s.seconds/2, func() { now, _, _ := api.memory(); halfway <- now })
	took, err := l.run(ctx, s.seconds)
	if err != nil {
		return err
	}
	l.paced = false
	before, started := l.marked.Load(), time.Now()
	if err := l.mark(ctx, flatOutTime); err != nil {
		return err
	}
	flatOut := float64(l.marked.Load()-before) / time.Since(started).Seconds()
	after, most, err := api.memory()
	if err != nil {
		return err
	}
	if err := l.finish(ctx, watching); err != nil {
		return err
	}
	t.latencies = append(t.latencies,
		latency{fmt.Sprintf("progress over HTTP, %d readers, under load", readerCount), took, map[float64]time.Duration{0.99: readerAim}},
		latency{fmt.Sprintf("marking over HTTP, %d workers", workerCount/2), l.overHTTP, nil},
		latency{fmt.Sprintf("marking by package, %d workers", workerCount/2), l.byPackage, nil})
	t.notes = append(t.notes, strings.Join([]string{
		fmt.Sprintf("%d items were marked twice each by %d workers: done is exact, and the end was told once.", l.marked.Load(), workerCount),
		fmt.Sprintf("As fast as the workers can, for %s: %.0f new items a second, and as many again.", flatOutTime, flatOut),
		fmt.Sprintf("%d open streams had %d events and saw the end, each of them; %d subscription at Redis for all.", streamCount, watching.events.Load(), subscribed-subscribedBefore),
		fmt.Sprintf("memory of the api: %s idle, %s with the streams open, %s halfway, %s at the end, %s at most", mib(idle), mib(open), mib(<-halfway), mib(after), mib(most)),
	}, "\n"))
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
	tracker             *redisstate.Store
	paced               bool // an item a second each; otherwise as fast as it goes
	marked              atomic.Int64
	mu                  sync.Mutex
	overHTTP, byPackage []time.Duration
}

// run has workers and readers work for that long, and answers what the readers have waited.
func (l *loadRun) run(ctx context.Context, d time.Duration) ([]time.Duration, error) {
	var working sync.WaitGroup
	var markErr error
	working.Go(func() { markErr = l.mark(ctx, d) })
	took, err := l.readSteadily(ctx, d-time.Second)
	working.Wait()
	return took, errors.Join(err, markErr)
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
	item := func(n int) string { return fmt.Sprintf("item-%t-%d-%d", l.paced, worker, n) }
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
	if l.paced {
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
func (l *loadRun) finish(ctx context.Context, watching *streams) error {
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
	if err := watching.end(); err != nil {
		return err
	}
	if n := watching.completed.Load(); n != streamCount {
		return fmt.Errorf("%d of %d streams have seen the end", n, streamCount)
	}
	var told int
	err = l.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM project_completions").Scan(&told)
	if err == nil && told != 1 {
		err = fmt.Errorf("the end was told %d times", told)
	}
	return err
}
