package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/test/harness"
)

const (
	// readerCount readers ask once a second each, over a connection of their own.
	readerCount = 1000
	readerAim   = 10 * time.Millisecond // p99
)

// watched is a project on a running service, with its owner.
type watched struct {
	*harness.System
	owner *person
	id    string
	key   string // INTERNAL_KEY
}

func (b *bench) startWatched(ctx context.Context) (*watched, error) {
	s, err := b.startService(ctx)
	if err != nil {
		return nil, err
	}
	w := &watched{System: s, id: "proj_" + uuid.NewString(), key: string(b.config.Secrets.Internal)}
	if w.owner, err = b.newPerson(ctx, s, "owner@example.com"); err != nil {
		return nil, err
	}
	_, err = w.internal(ctx, http.MethodPost, "", map[string]any{"user_id": w.owner.id, "total": 1 << 40})
	return w, err
}

// internal makes a call as another service does.
func (w *watched) internal(ctx context.Context, method, path string, body any) (harness.Answer, error) {
	return harness.Expect(http.StatusOK)(
		w.owner.Call(ctx, method, "/internal/projects/"+w.id+path, body, "X-Internal-Key", w.key))
}

// mark marks items over HTTP.
func (w *watched) mark(ctx context.Context, ids ...string) error {
	items := make([]map[string]string, len(ids))
	for i, id := range ids {
		items[i] = map[string]string{"item_id": id}
	}
	_, err := w.internal(ctx, http.MethodPost, "/items", map[string]any{"items": items})
	return err
}

// readers measures a thousand connected readers of a project that changes ten times a second.
func (b *bench) readers(ctx context.Context) error {
	w, err := b.startWatched(ctx)
	if err != nil {
		return err
	}
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan error, 1)
	go func() {
		for i := range everyTick(life, time.Second/10) {
			if err := w.mark(ctx, fmt.Sprint("item-", i)); err != nil {
				changed <- err
				return
			}
		}
		changed <- nil
	}()
	took, err := w.readSteadily(ctx, b.lasting(20*time.Second))
	cancel()
	b.report.latency(fmt.Sprintf("progress over HTTP, %d connected readers, each once a second", readerCount), took,
		map[float64]time.Duration{0.99: readerAim})
	return errors.Join(err, <-changed)
}

// readSteadily has the readers read for that long, spread over the second, and returns how long each read took. The
// first one of each reader, which connects, is not counted.
func (w *watched) readSteadily(ctx context.Context, d time.Duration) ([]time.Duration, error) {
	took := make([][]time.Duration, readerCount)
	life, cancel := context.WithTimeout(ctx, d+time.Second)
	defer cancel()
	err := inParallel(readerCount, func(i int) error {
		reader := w.owner.KeepAlive()
		defer reader.CloseIdle()
		spreadOver(life, i, readerCount)
		for n := range everyTick(life, time.Second) {
			a, err := harness.Expect(http.StatusOK)(reader.Call(ctx, http.MethodGet, "/projects/"+w.id+"/progress", nil))
			if err != nil {
				return err
			}
			if n > 0 {
				took[i] = append(took[i], a.Took)
			}
		}
		return nil
	})
	return slices.Concat(took...), err
}

// spreadOver waits for the turn of the i-th of n workers within a second.
func spreadOver(ctx context.Context, i, n int) {
	select {
	case <-time.After(time.Duration(i) * time.Second / time.Duration(n)):
	case <-ctx.Done():
	}
}
