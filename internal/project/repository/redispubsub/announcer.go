package redispubsub

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

const (
	// announceEvery is the distance between two announcements of one project.
	announceEvery = 200 * time.Millisecond
	// announceAgain is when they are tried again while Redis is away.
	announceAgain = time.Second
	// maxPending bounds, in projects, what waits to be announced while Redis is away. Others are left out then.
	maxPending = 10_000
	// announceChunk is how many projects go in one pipeline.
	announceChunk = 256
	// lastAnnounce bounds what a stop waits for the last ones.
	lastAnnounce = time.Second
)

// Announcer implements project.Announcer: what is announced leaves at once, or 200 ms after the project's last; of what
// comes between, the last. Safe for concurrent use.
type Announcer struct {
	publish func(ctx context.Context, some []announcement) error
	outage  outage
	wake    chan struct{}

	mu      sync.Mutex
	pending map[string]announcement // by project id
}

type announcement struct {
	owner    string
	progress project.Progress
}

// NewAnnouncer answers one that publishes once Run does. client may have selected any database. tell hears of an outage
// once, and with nil when it is over.
func NewAnnouncer(client *redis.Client, tell func(err error)) *Announcer {
	return &Announcer{
		publish: publisher{client}.publish, outage: outage{tell: tell}, wake: make(chan struct{}, 1),
		pending: map[string]announcement{},
	}
}

var _ project.Announcer = (*Announcer)(nil)

// Announce implements project.Announcer. A project without an owner has no channel.
func (a *Announcer) Announce(owner string, p project.Progress) {
	if owner == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	waiting, ok := a.pending[p.ProjectID]
	switch {
	case !ok && len(a.pending) >= maxPending:
		return
	case ok && ahead(waiting.progress, p):
		return
	}
	a.pending[p.ProjectID] = announcement{owner, p}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// ahead tells whether p comes after q although it was announced before: those who count at once do not announce in the
// order in which they were counted, and the last word must not be an old one.
func ahead(p, q project.Progress) bool {
	if p.Status.Final() != q.Status.Final() {
		return p.Status.Final()
	}
	return p.Done > q.Done
}

// Run publishes until ctx ends, then once more what waits, and answers nil.
func (a *Announcer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnnounce)
			defer cancel()
			_ = a.flush(last) // nothing is promised, and there is no later
			return nil
		case <-a.wake:
		}
		err := a.flush(ctx)
		pause := announceEvery
		if err != nil {
			pause = announceAgain
		}
		if ctx.Err() == nil {
			a.outage.note(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// flush publishes what waits. What cannot be published waits on.
func (a *Announcer) flush(ctx context.Context) error {
	a.mu.Lock()
	waiting := a.pending
	a.pending = make(map[string]announcement, len(waiting))
	a.mu.Unlock()
	for some := range slices.Chunk(slices.Collect(maps.Values(waiting)), announceChunk) {
		if err := a.publish(ctx, some); err != nil {
			a.putBack(waiting)
			return err
		}
		for _, sent := range some {
			delete(waiting, sent.progress.ProjectID)
		}
	}
	return nil
}

// putBack lets announcements wait again, unless there is a newer one.
func (a *Announcer) putBack(unsent map[string]announcement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.Copy(unsent, a.pending)
	a.pending = unsent
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

type publisher struct{ client *redis.Client }

type message struct {
	Type    string  `json:"type"`
	Payload payload `json:"payload"`
}

type payload struct {
	ProjectID      string   `json:"project_id"`
	Status         string   `json:"status"`
	Total          int64    `json:"total"`
	Done           int64    `json:"done"`
	Errors         int64    `json:"errors"`
	OverallPercent *float64 `json:"overall_progress_percent,omitempty"` // on the project's channel
	Percent        *float64 `json:"progress_percent,omitempty"`         // on the user's
}

// publish sends every announcement to both of its channels, in one round trip.
func (p publisher) publish(ctx context.Context, some []announcement) error {
	_, err := p.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, one := range some {
			m := message{Type: "project_progress", Payload: payload{
				ProjectID: one.progress.ProjectID, Status: string(one.progress.Status),
				Total: one.progress.Total, Done: one.progress.Done, Errors: one.progress.Errors,
			}}
			if one.progress.Status == project.StatusDone {
				m.Type = "project_completed"
			}
			percent := one.progress.Percent()
			m.Payload.OverallPercent = &percent
			if err := add(ctx, pipe, projectChannel(one.progress.ProjectID, one.owner), m); err != nil {
				return err
			}
			m.Payload.OverallPercent, m.Payload.Percent = nil, &percent
			if err := add(ctx, pipe, userChannel(one.owner), m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("project: announcing progress: %w", err)
	}
	return nil
}

func add(ctx context.Context, pipe redis.Pipeliner, channel string, m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	pipe.Publish(ctx, channel, text)
	return nil
}
