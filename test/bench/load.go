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

	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/test/harness"
)

const (
	workerCount = 1000 // half of them over HTTP, half by package; each marks every item twice
	streamCount = 1000
	streamTime  = time.Minute
	flatOutTime = 10 * time.Second
)

// loadRun is the work on one project of one api.
type loadRun struct {
	*watched
	report     *report
	store      *redisdb.Store // of the workers by package
	phase      int            // is part of the items' ids
	marked     atomic.Int64
	memories   []string
	openStream sync.WaitGroup
	ended      chan error // a result per stream
	events     atomic.Int64
	streams    time.Duration // how long the workers and readers go on beside them

	mu                  sync.Mutex
	overHTTP, byPackage []time.Duration
}

// load is half a minute of workers that mark an item a second each, and of readers, on one project of one api; then a minute of the
// same with open streams, or more; then the workers as fast as they can, with the streams still open. In the end the count must be
// exact.
func (b *bench) load(ctx context.Context) error {
	w, err := b.startWatched(ctx)
	if err != nil {
		return err
	}
	client := b.openRedis(w.System)
	defer func() { _ = client.Close() }() // nothing is pending
	l := &loadRun{watched: w, report: &b.report, store: redisdb.New(client), ended: make(chan error, streamCount)}
	l.streams = b.lasting(streamTime)
	for _, step := range []struct {
		when string // the memory is noted then
		do   func() error
	}{
		{"idle", func() error { return nil }},
		{"after the readers", func() error { return l.steadily(ctx, 30*time.Second, "", readerAim) }},
		{"with the streams open", func() error { return b.openStreams(ctx, l) }},
		{"halfway", func() error { return l.withStreams(ctx) }},
		{fmt.Sprintf("%s after they were opened", l.streams), func() error { return l.withStreams(ctx) }},
		{"after the workers went as fast as they can", func() error { return l.flatOut(ctx) }},
	} {
		if err := step.do(); err != nil {
			return err
		}
		now, _, err := l.APIs[0].Memory()
		if err != nil {
			return err
		}
		l.memories = append(l.memories, mib(now)+" "+step.when)
	}
	if err := l.finish(ctx); err != nil {
		return err
	}
	b.report.note("%d items were marked by %d workers, nearly all of them twice: done is exact.",
		l.marked.Load(), workerCount)
	b.report.note("memory of the api: %s (of which hashing a password took 64 MiB once)", strings.Join(l.memories, ", "))
	return nil
}

// steadily has workers and readers work for that long, and reports their latencies.
func (l *loadRun) steadily(ctx context.Context, d time.Duration, besides string, aim time.Duration) error {
	l.overHTTP, l.byPackage = nil, nil
	marked := make(chan error, 1)
	go func() { marked <- l.work(ctx, d, time.Second) }()
	took, err := l.readSteadily(ctx, d-time.Second)
	err = errors.Join(err, <-marked)
	what := fmt.Sprintf("progress over HTTP, %d readers, %d workers%s", readerCount, workerCount, besides)
	l.report.latency(what, took, map[float64]time.Duration{0.99: aim})
	l.report.latency("marking over HTTP, the same"+besides, l.overHTTP, nil)
	l.report.latency("marking by package, the same"+besides, l.byPackage, nil)
	return err
}

// tabs is how many streams one person opens: less than a process lets them.
const tabs = 16

// openStreams opens the streams and returns when each has had its first event. They end with the project. All but the
// owner who watch it are administrators.
func (b *bench) openStreams(ctx context.Context, l *loadRun) error {
	people := []*person{l.owner}
	for len(people)*tabs < streamCount {
		p, err := b.newAdministrator(ctx, l.System, fmt.Sprintf("watcher-%d@example.com", len(people)))
		if err != nil {
			return err
		}
		people = append(people, p)
	}
	l.openStream.Add(streamCount)
	for i := range everyTick(ctx, time.Millisecond) {
		if i == streamCount {
			break
		}
		go func() {
			first := sync.OnceFunc(l.openStream.Done)
			l.ended <- people[i/tabs].Stream(ctx, "/projects/"+l.id+"/progress/stream", func(harness.ServerEvent) {
				l.events.Add(1)
				first()
			})
		}()
	}
	opened := make(chan error, 1)
	go func() { l.openStream.Wait(); opened <- nil }()
	select {
	case err := <-opened:
		return err
	case err := <-l.ended:
		return fmt.Errorf("a stream ended early: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withStreams is steadily with the streams, which stay open, for half their time.
func (l *loadRun) withStreams(ctx context.Context) error {
	list, err := l.Redis.Do(ctx, "CLIENT", "LIST", "TYPE", "PUBSUB").Text()
	if err != nil {
		return err
	}
	before := l.events.Load()
	err = l.steadily(ctx, l.streams/2, fmt.Sprintf(", %d streams", streamCount), readerAim)
	l.report.note("%d open streams had %.1f events a second each; %d subscriptions at Redis for all of them.",
		streamCount, float64(l.events.Load()-before)/streamCount/(l.streams/2).Seconds(), strings.Count(list, "id="))
	return err
}

// flatOut has the workers work as fast as they can.
func (l *loadRun) flatOut(ctx context.Context) error {
	before, started := l.marked.Load(), time.Now()
	err := l.work(ctx, flatOutTime, time.Nanosecond)
	l.report.note("as fast as the workers can, for %s, with the streams open: %.0f new items a second, and as many again.",
		flatOutTime, float64(l.marked.Load()-before)/time.Since(started).Seconds())
	return err
}

// work has the workers mark item after item for that long, each time with the one before it again.
func (l *loadRun) work(ctx context.Context, d, pause time.Duration) error {
	l.phase++
	life, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return inParallel(workerCount, func(worker int) error {
		markItems, took := l.mark, &l.overHTTP
		if worker%2 == 1 {
			markItems, took = l.markByPackage, &l.byPackage
		}
		spreadOver(life, worker, workerCount)
		var mine []time.Duration
		item := func(n int) string { return fmt.Sprintf("item-%d-%d-%d", l.phase, worker, n) }
		ids := []string{item(0)}
		for n := range everyTick(life, pause) {
			started := time.Now()
			if err := markItems(ctx, ids...); err != nil {
				return err
			}
			mine = append(mine, time.Since(started))
			l.marked.Add(1)
			ids = []string{item(n + 1), item(n)}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		*took = append(*took, mine...)
		return nil
	})
}

func (l *loadRun) markByPackage(ctx context.Context, ids ...string) error {
	return mark(ctx, l.store, l.id, ids...)
}

// finish sets the project's total to what was marked. That has to be what is counted, and end every stream.
func (l *loadRun) finish(ctx context.Context) error {
	a, err := l.internal(ctx, http.MethodPut, "/total", map[string]any{"total": l.marked.Load(), "final": true})
	if err != nil {
		return err
	}
	var have struct {
		Status string `json:"status"`
		Done   int64  `json:"done"`
	}
	if err := json.Unmarshal(a.Data, &have); err != nil {
		return err
	}
	if have.Done != l.marked.Load() || have.Status != "DONE" {
		return fmt.Errorf("%d items were marked, and the count is %s", l.marked.Load(), a.Data)
	}
	for range streamCount {
		select {
		case err = <-l.ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("a stream broke: %w", err)
		}
	}
	return nil
}
