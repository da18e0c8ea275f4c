//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// viewer watches a project's stream.
type viewer struct {
	ended chan error
	mu    sync.Mutex
	seen  []harness.ServerEvent
}

// watch opens the stream of a project once the project exists, and returns when the first event has come.
func watch(t *testing.T, s *harness.TestSystem, p *person, id string) *viewer {
	t.Helper()
	harness.Soon(t, func() error { _, err := readProgress(t, p.client, id); return err })
	v := &viewer{ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var watching sync.WaitGroup
	watching.Go(func() {
		v.ended <- p.client.Stream(ctx, "/projects/"+id+"/progress/stream", func(e harness.ServerEvent) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.seen = append(v.seen, e)
		})
	})
	t.Cleanup(func() { cancel(); watching.Wait() })
	harness.Soon(t, func() error {
		if len(v.events()) == 0 {
			return errors.New("no event has come")
		}
		return nil
	})
	return v
}

func (v *viewer) events() []harness.ServerEvent {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.seen)
}

// check checks the whole stream of a project that has ended: complete states that never go backwards, at most five a
// second, and an end.
func (v *viewer) check(t *testing.T, p *project) {
	t.Helper()
	select {
	case err := <-v.ended:
		require.NoError(t, err)
	case <-time.After(harness.Patience):
		require.FailNow(t, "the stream goes on after the project's end")
	}
	events := v.events()
	var before progress
	for i, e := range events {
		var have progress
		require.NoError(t, e.Decode(&have), e.Data)
		require.Equal(t, p.id, have.ProjectID)
		require.GreaterOrEqual(t, have.Done, before.Done, "progress does not go backwards")
		last := i == len(events)-1
		require.Equal(t, map[bool]string{false: "progress", true: "completed"}[last], e.Name)
		before = have
	}
	require.Greater(t, len(events), 3, "there were events on the way")
	took := events[len(events)-1].At.Sub(events[0].At)
	// The first may have waited to be read. Without the limit there would be one for each call of Analytics: fifty a second.
	require.LessOrEqual(t, len(events), int(took.Seconds()*5)+10, "in %s", took)
	require.Equal(t, "DONE", before.Status)
	require.Equal(t, p.items, before.Done)
	require.InDelta(t, 100, before.Percent, 0)
}

// channels records what Redis publishes about one person's projects.
type channels struct {
	owner string
	mu    sync.Mutex
	seen  []*redis.Message
}

// subscribeChannels subscribes as the WebSocket service and older listeners do.
func subscribeChannels(t *testing.T, s *harness.TestSystem, owner string) *channels {
	t.Helper()
	c := &channels{owner: owner}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	subscription := s.Redis.PSubscribe(ctx, "project:*:"+owner, "user_noti:"+owner)
	for range 2 {
		_, err := subscription.Receive(ctx) // the confirmation
		require.NoError(t, err)
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		for m := range subscription.Channel() {
			c.mu.Lock()
			c.seen = append(c.seen, m)
			c.mu.Unlock()
		}
	})
	t.Cleanup(func() { cancel(); require.NoError(t, subscription.Close()); listening.Wait() })
	return c
}

// check checks that a project's progress and its end were announced on its own channel, and nowhere else: a service that
// hears a change twice joins both messages.
func (c *channels) check(t *testing.T, p *project) {
	t.Helper()
	harness.Soon(t, func() error { return c.checkProject(p) })
}

// said is a message with both of its forms.
type said struct {
	Type    string
	Payload struct {
		ProjectID      string `json:"project_id"`
		Status         string
		Total          *int
		ProjectPercent *float64 `json:"overall_progress_percent"`
		UserPercent    *float64 `json:"progress_percent"`
	}
	Status   string
	Progress struct {
		Current, Total  int
		Percentage, ETA *float64
		Errors          []string
	}
}

func (c *channels) checkProject(p *project) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds := map[string]int{}
	for _, m := range c.seen {
		if !strings.Contains(m.Payload, p.id) {
			continue
		}
		var s said
		if err := json.Unmarshal([]byte(m.Payload), &s); err != nil {
			return err
		}
		kinds[s.Type]++
		percent, ended := s.Payload.ProjectPercent, s.Type == "project_completed"
		switch {
		case m.Channel != "project:"+p.id+":"+c.owner, s.Payload.ProjectID != p.id, s.Payload.Total == nil,
			percent == nil, s.Payload.UserPercent == nil, *percent != *s.Payload.UserPercent,
			ended != (s.Payload.Status == "DONE"), ended != (s.Status == "COMPLETED"), ended && *percent != 100,
			s.Payload.Status == "CRAWLING", !ended && s.Status != s.Payload.Status,
			s.Progress.Current > s.Progress.Total, s.Progress.Percentage == nil, *s.Progress.Percentage != *percent,
			s.Progress.ETA == nil, s.Progress.Errors == nil:
			return fmt.Errorf("%s: %s", m.Channel, m.Payload)
		}
	}
	if kinds["project_progress"] == 0 || kinds["project_completed"] == 0 || len(kinds) != 2 {
		return fmt.Errorf("project %s: published %v", p.id, kinds)
	}
	return nil
}
