package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// readerCount readers ask once a second each, over a connection of their own.
	readerCount = 1000
	readerTime  = 20 * time.Second
	readerAim   = 10 * time.Millisecond // p99
)

// watched is a project that somebody owns, on a running service.
type watched struct {
	*service
	owner *client
	id    string
}

// watchedProject starts a service and a project on it.
func watchedProject(ctx context.Context, s settings, folder string) (w *watched, err error) {
	w = &watched{id: "proj_" + uuid.NewString()}
	if w.service, err = startService(ctx, s, folder, func(environment) error { return nil }); err != nil {
		return w, err
	}
	var userID string
	if w.owner, userID, err = w.person(ctx, "owner@example.com"); err != nil {
		return w, err
	}
	return w, w.internal(ctx, http.MethodPost, "", map[string]any{"user_id": userID, "total": 1 << 40})
}

// internal makes a call as another service does.
func (w *watched) internal(ctx context.Context, method, path string, body any) error {
	_, err := w.answer(ctx, method, path, body)
	return err
}

func (w *watched) answer(ctx context.Context, method, path string, body any) ([]byte, error) {
	key := string(w.settings.stack.Secrets.Internal)
	raw, _, err := w.owner.call(ctx, method, "/internal/projects/"+w.id+path, http.StatusOK, body, "X-Internal-Key", key)
	return raw, err
}

// mark marks items over HTTP.
func (w *watched) mark(ctx context.Context, ids ...string) error {
	items := make([]map[string]string, len(ids))
	for i, id := range ids {
		items[i] = map[string]string{"item_id": id}
	}
	return w.internal(ctx, http.MethodPost, "/items", map[string]any{"items": items})
}

func (w *watched) close() {
	if w.service != nil {
		w.forgetProjects(w.id)
		w.service.close()
	}
}

// benchReaders measures a thousand connected readers of a project that changes ten times a second.
func benchReaders(ctx context.Context, s settings, t *tables) error {
	if s.seconds == 0 {
		s.seconds = readerTime
	}
	folder, removeBinaries, err := buildBinaries(ctx)
	if err != nil {
		return err
	}
	defer removeBinaries()
	w, err := watchedProject(ctx, s, folder)
	defer w.close()
	if err != nil {
		return err
	}
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	var changing sync.WaitGroup
	var changeErr error
	changing.Go(func() {
		for i := range everyTick(life, time.Second/10) {
			if err := w.mark(ctx, fmt.Sprint("item-", i)); err != nil {
				changeErr = err
				return
			}
		}
	})
	took, err := w.readSteadily(ctx, s.seconds)
	cancel()
	changing.Wait()
	t.latencies = append(t.latencies, latency{
		fmt.Sprintf("progress over HTTP, %d connected readers, each once a second", readerCount), took,
		map[float64]time.Duration{0.99: readerAim},
	})
	return errors.Join(err, changeErr)
}

// everyTick yields 0, 1, 2, … with this pause until ctx ends.
func everyTick(ctx context.Context, pause time.Duration) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !yield(i) {
					return
				}
			}
		}
	}
}

// readSteadily has the readers read for that long, spread over the second, and answers how long each answer took. The
// first one of each, which connects, is not counted.
func (w *watched) readSteadily(ctx context.Context, d time.Duration) ([]time.Duration, error) {
	took, errs := make([][]time.Duration, readerCount), make([]error, readerCount)
	life, cancel := context.WithTimeout(ctx, d+time.Second)
	defer cancel()
	var reading sync.WaitGroup
	for i := range readerCount {
		reading.Go(func() {
			reader := *w.owner
			own := *w.owner.http
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			own.Transport, reader.http = transport, &own
			select {
			case <-time.After(time.Duration(i) * time.Second / readerCount):
			case <-life.Done():
				return
			}
			for n := range everyTick(life, time.Second) {
				_, each, err := reader.call(ctx, http.MethodGet, "/projects/"+w.id+"/progress", http.StatusOK, nil)
				if err != nil {
					errs[i] = err
					return
				}
				if n > 0 {
					took[i] = append(took[i], each)
				}
			}
		})
	}
	reading.Wait()
	return slices.Concat(took...), errors.Join(errs...)
}

// memory is how much of the process lies in memory now, and did at most so far, in bytes.
func (p *process) memory() (now, most int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory is read from /proc, which is Linux: %w", err)
	}
	read := func(name string) (bytes int64) {
		for line := range strings.Lines(string(text)) {
			if _, scanErr := fmt.Sscanf(line, name+": %d kB", &bytes); scanErr == nil {
				return bytes << 10
			}
		}
		err = errors.Join(err, fmt.Errorf("there is no %s in /proc", name))
		return 0
	}
	now, most = read("VmRSS"), read("VmHWM")
	return now, most, err
}

func mib(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) }
