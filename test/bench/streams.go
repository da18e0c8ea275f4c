package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// streams are many browsers that watch one project.
type streams struct {
	open      sync.WaitGroup // until each has had its first event
	running   sync.WaitGroup
	events    atomic.Int64
	completed atomic.Int64
	mu        sync.Mutex
	errs      []error
}

// openStreams opens n streams on one connection each, and returns when each has had its first event, which is the state
// as it is. They end with the project, or with ctx.
func (w *watched) openStreams(ctx context.Context, n int) (*streams, error) {
	s := &streams{}
	browser := *w.owner.http
	browser.Timeout = 0 // a stream has no end that one could wait for
	browser.Transport = &http.Transport{}
	s.open.Add(n)
	for range everyTick(ctx, time.Millisecond) {
		s.running.Go(func() {
			if err := s.watch(ctx, &browser, w.url+"/projects/"+w.id+"/progress/stream"); err != nil && ctx.Err() == nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.errs = append(s.errs, err)
			}
		})
		if n--; n == 0 {
			break
		}
	}
	opened := make(chan struct{})
	go func() { s.open.Wait(); close(opened) }()
	select {
	case <-opened:
	case <-time.After(patience):
		return s, errors.Join(append(s.failures(), errors.New("not every stream has had its first event"))...)
	case <-ctx.Done():
		return s, ctx.Err()
	}
	return s, errors.Join(s.failures()...)
}

func (s *streams) watch(ctx context.Context, browser *http.Client, url string) error {
	first := sync.OnceFunc(s.open.Done)
	defer first()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := browser.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("a stream was answered with %s", response.Status)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, 1<<10), 1<<16)
	for lines.Scan() {
		switch {
		case strings.HasPrefix(lines.Text(), "event: completed"):
			s.completed.Add(1)
		case strings.HasPrefix(lines.Text(), "data:"):
			s.events.Add(1)
			first()
		}
	}
	return lines.Err()
}

func (s *streams) failures() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.errs...)
}

// end waits until every stream has ended by itself.
func (s *streams) end() error {
	ended := make(chan struct{})
	go func() { s.running.Wait(); close(ended) }()
	select {
	case <-ended:
		return errors.Join(s.failures()...)
	case <-time.After(patience):
		return errors.New("streams go on after the project's end")
	}
}
