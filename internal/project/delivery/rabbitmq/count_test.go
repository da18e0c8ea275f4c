package rabbitmq_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/delivery/rabbitmq"
)

type marker struct {
	err    error
	marked map[string]bool // project and item → failed
}

func (m *marker) Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return project.Change{}, errors.New("counting has no deadline")
	}
	for _, i := range items {
		m.marked[projectID+" "+i.ID] = i.Failed
	}
	return project.Change{}, m.err
}

type anything struct{}

func (anything) Validate() error { return nil }

func TestCountItem(t *testing.T) {
	t.Parallel()
	const body = `{"event_id":"evt_1","payload":{"project_id":"proj_1","data":{}}}`
	policy := event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Hour}
	crashed := event.Delivery{HandedOut: event.CrashLoopLimit}
	for name, tt := range map[string]struct {
		result   error
		body     string
		delivery event.Delivery
		want     map[string]bool
	}{
		"handled is done":                           {nil, body, event.Delivery{}, map[string]bool{"proj_1 evt_1": false}},
		"a duplicate is done":                       {event.Drop(event.DropDuplicate), body, event.Delivery{}, map[string]bool{"proj_1 evt_1": false}},
		"dropped is failed":                         {event.Drop(event.DropExpired), body, event.Delivery{}, map[string]bool{"proj_1 evt_1": true}},
		"dead is failed":                            {event.Permanent(event.ReasonRejected, errors.New("550")), body, event.Delivery{}, map[string]bool{"proj_1 evt_1": true}},
		"a crash loop is failed":                    {nil, body, crashed, map[string]bool{"proj_1 evt_1": true}},
		"a retry is not counted":                    {errors.New("later"), body, event.Delivery{}, map[string]bool{}},
		"an unreadable event is not counted":        {nil, `{`, event.Delivery{}, map[string]bool{}},
		"an event without a project is not counted": {nil, `{"event_id":"evt_1","payload":{"data":{}}}`, event.Delivery{}, map[string]bool{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, outage := range []error{nil, project.ErrUnavailable} {
				m := &marker{err: outage, marked: map[string]bool{}}
				missed := 0
				h := event.Chain(
					event.Handle(func(context.Context, event.Received, anything) error { return tt.result }),
					rabbitmq.CountItem(m, func(_ event.Delivery, projectID string, err error) {
						require.Equal(t, "proj_1", projectID)
						require.Equal(t, outage, err)
						missed++
					}),
					event.Limit(policy, time.Now),
				)
				d := tt.delivery
				d.Message = event.Message{ID: "evt_1", Body: []byte(tt.body)}
				plain := event.Chain(
					event.Handle(func(context.Context, event.Received, anything) error { return tt.result }),
					event.Limit(policy, time.Now),
				)
				require.Equal(t, plain(t.Context(), d), h(t.Context(), d), "counting changes no result")
				require.Equal(t, tt.want, m.marked)
				if outage != nil {
					require.Equal(t, len(tt.want), missed)
				}
			}
		})
	}
}
