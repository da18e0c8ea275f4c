package redispubsub

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

// message carries the progress in both forms that receivers read: type and payload, and status and progress beside them.
type message struct {
	Type     string  `json:"type"`
	Payload  payload `json:"payload"`
	Status   string  `json:"status"`
	Progress summary `json:"progress"`
}

type payload struct {
	ProjectID      string  `json:"project_id"`
	Status         string  `json:"status"`
	Total          int64   `json:"total"`
	Done           int64   `json:"done"`
	Errors         int64   `json:"errors"`
	ProjectPercent float64 `json:"overall_progress_percent"`
	UserPercent    float64 `json:"progress_percent"`
}

// summary is refused by its receiver if current is above total.
type summary struct {
	Current    int64    `json:"current"`
	Total      int64    `json:"total"`
	Percentage float64  `json:"percentage"`
	ETA        float64  `json:"eta"`    // minutes; always 0, unknown
	Errors     []string `json:"errors"` // messages; always empty: only their number is known
}

func newMessage(p project.Progress) message {
	kind, status, done := "project_progress", p.Status, p.Status
	switch status {
	case project.StatusDone:
		kind, done = "project_completed", "COMPLETED"
	case project.StatusInitializing, project.StatusFailed:
	default: // CRAWLING, and what only other services know, is refused by the receiver
		status, done = project.StatusProcessing, project.StatusProcessing
	}
	percent := p.Percent()
	return message{
		Type: kind,
		Payload: payload{
			ProjectID:      p.ProjectID,
			Status:         string(status),
			Total:          p.Total,
			Done:           p.Done,
			Errors:         p.Errors,
			ProjectPercent: percent,
			UserPercent:    percent,
		},
		Status: string(done),
		Progress: summary{
			Current:    min(p.Done, p.Total),
			Total:      p.Total,
			Percentage: percent,
			Errors:     []string{},
		},
	}
}

// MarshalBinary lets the client write a message as JSON.
func (m message) MarshalBinary() ([]byte, error) { return json.Marshal(m) }

type sender struct {
	client   *redis.Client
	channels Channels
}

// send publishes every update, in one round trip.
func (s sender) send(ctx context.Context, updates []update) error {
	_, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, u := range updates {
			m := newMessage(u.progress)
			for _, channel := range s.channels.of(u.progress.ProjectID, u.owner) {
				pipe.Publish(ctx, channel, m)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("project: publishing progress: %w", err)
	}
	return nil
}
