package redispubsub

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
)

// frontMessage is what the WebSocket service makes of a message: it reads status and progress, and nothing else.
type frontMessage struct {
	Status   string `json:"status"`
	Progress struct {
		Current    int      `json:"current"`
		Total      int      `json:"total"`
		Percentage float64  `json:"percentage"`
		ETA        float64  `json:"eta"`
		Errors     []string `json:"errors"`
	} `json:"progress"`
}

// forward returns what the WebSocket service sends to the browser for a message, or why it refuses it.
func forward(text string) (string, error) {
	var m frontMessage
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return "", err
	}
	switch p := m.Progress; {
	case !slices.Contains([]string{"INITIALIZING", "PROCESSING", "COMPLETED", "FAILED"}, m.Status):
		return "", errors.New("unknown status " + m.Status)
	case p.Current < 0 || p.Current > p.Total || p.Percentage < 0 || p.Percentage > 100 || p.ETA < 0 || p.Errors == nil:
		return "", errors.New("impossible progress")
	}
	sent, err := json.Marshal(m)
	return string(sent), err
}

// frames sends updates, each of which finds its receiver busy: the messages that wait for the browser are joined by line
// breaks in one frame.
func frames(t *testing.T, client *goredis.Client, channels Channels, updates ...project.Progress) []string {
	ctx, user, end := context.Background(), uuid.NewString(), "end:"+uuid.NewString()
	subscription := client.PSubscribe(ctx, "project:*:"+user, "user_noti:"+user, end)
	t.Cleanup(func() { require.NoError(t, subscription.Close()) })
	for range 3 {
		_, err := subscription.Receive(ctx)
		require.NoError(t, err)
	}
	all := make([]string, 0, len(updates))
	for _, p := range updates {
		require.NoError(t, sender{client, channels}.send(ctx, []update{{user, p}}))
		require.NoError(t, client.Publish(ctx, end, "").Err())
		var waiting []string
		for {
			got, err := subscription.ReceiveMessage(ctx)
			require.NoError(t, err)
			if got.Channel == end {
				break
			}
			text, err := forward(got.Payload)
			require.NoError(t, err, got.Payload)
			waiting = append(waiting, text)
		}
		all = append(all, strings.Join(waiting, "\n"))
	}
	return all
}

func TestMessage(t *testing.T) {
	t.Parallel()
	at := func(status project.Status, total, done, errors int64) project.Progress {
		return project.Progress{ProjectID: "p", Status: status, Total: total, Done: done, Errors: errors}
	}
	for name, tc := range map[string]struct {
		p    project.Progress
		want string
	}{
		"begun": {
			at(project.StatusInitializing, 0, 0, 0), `{"type":"project_progress","payload":{"project_id":"p",
			"status":"INITIALIZING","total":0,"done":0,"errors":0,"overall_progress_percent":0,"progress_percent":0},
			"status":"INITIALIZING","progress":{"current":0,"total":0,"percentage":0,"eta":0,"errors":[]}}`,
		},
		"items are still found": {
			at(project.StatusCrawling, 3, 1, 1), `{"type":"project_progress","payload":{"project_id":"p",
			"status":"PROCESSING","total":3,"done":1,"errors":1,"overall_progress_percent":33.33,"progress_percent":33.33},
			"status":"PROCESSING","progress":{"current":1,"total":3,"percentage":33.33,"eta":0,"errors":[]}}`,
		},
		"before the total is known": {
			at(project.StatusProcessing, 0, 2, 0), `{"type":"project_progress","payload":{"project_id":"p",
			"status":"PROCESSING","total":0,"done":2,"errors":0,"overall_progress_percent":0,"progress_percent":0},
			"status":"PROCESSING","progress":{"current":0,"total":0,"percentage":0,"eta":0,"errors":[]}}`,
		},
		"a status of another service": {
			at("PAUSED", 2, 1, 0), `{"type":"project_progress","payload":{"project_id":"p",
			"status":"PROCESSING","total":2,"done":1,"errors":0,"overall_progress_percent":50,"progress_percent":50},
			"status":"PROCESSING","progress":{"current":1,"total":2,"percentage":50,"eta":0,"errors":[]}}`,
		},
		"given up": {
			at(project.StatusFailed, 3, 1, 0), `{"type":"project_progress","payload":{"project_id":"p",
			"status":"FAILED","total":3,"done":1,"errors":0,"overall_progress_percent":33.33,"progress_percent":33.33},
			"status":"FAILED","progress":{"current":1,"total":3,"percentage":33.33,"eta":0,"errors":[]}}`,
		},
		"done": {
			at(project.StatusDone, 3, 4, 1), `{"type":"project_completed","payload":{"project_id":"p",
			"status":"DONE","total":3,"done":4,"errors":1,"overall_progress_percent":100,"progress_percent":100},
			"status":"COMPLETED","progress":{"current":3,"total":3,"percentage":100,"eta":0,"errors":[]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := newMessage(tc.p).MarshalBinary()
			require.NoError(t, err)
			require.JSONEq(t, tc.want, string(got))
			_, err = forward(string(got))
			require.NoError(t, err)
		})
	}
	updates := []project.Progress{
		at(project.StatusInitializing, 0, 0, 0), at(project.StatusCrawling, 3, 1, 0), at(project.StatusDone, 3, 3, 1),
	}
	for _, channels := range []Channels{ProjectChannel, UserChannel} {
		t.Run("reaches a browser through a service that joins what waits: "+string(channels), func(t *testing.T) {
			each(t, func(t *testing.T, client *goredis.Client) {
				var statuses []string
				for _, frame := range frames(t, client, channels, updates...) {
					var m frontMessage
					require.NoError(t, json.Unmarshal([]byte(frame), &m), frame)
					statuses = append(statuses, m.Status)
				}
				require.Equal(t, []string{"INITIALIZING", "PROCESSING", "COMPLETED"}, statuses)
			})
		})
	}
	t.Run("is lost by such a service that hears it twice", func(t *testing.T) {
		each(t, func(t *testing.T, client *goredis.Client) {
			for _, frame := range frames(t, client, BothChannels, updates...) {
				require.False(t, json.Valid([]byte(frame)), "one reason why project alone is the default: %s", frame)
			}
		})
	})
}
