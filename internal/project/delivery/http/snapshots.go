package http

import (
	"sync"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// maxSnapshots bounds the memory of projects that have ended, or changed long ago.
const maxSnapshots = 256

// snapshots are the events of what was sent last, each encoded once for all streams of its project.
type snapshots struct {
	mu    sync.Mutex
	known map[string]snapshot // by project id
}

type snapshot struct {
	of    project.Progress
	event httpserver.Event
}

func newSnapshots() *snapshots { return &snapshots{known: map[string]snapshot{}} }

func (s *snapshots) event(p project.Progress) (httpserver.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.known[p.ProjectID]; ok && last.of == p {
		return last.event, nil
	}
	name, id := "progress", ""
	if p.Status == project.StatusDone {
		name = "completed"
	}
	if p.Status.Final() {
		id = finalID
	}
	event, err := httpserver.NewEvent(name, id, present(p))
	if err != nil {
		return nil, err
	}
	if len(s.known) >= maxSnapshots {
		clear(s.known) // each is encoded once more
	}
	s.known[p.ProjectID] = snapshot{p, event}
	return event, nil
}

func (s *snapshots) send(events *httpserver.Events, p project.Progress) error {
	event, err := s.event(p)
	if err != nil {
		return err
	}
	return events.SendEvent(event)
}
