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

type counting struct {
	err     error
	created []string
}

func (c *counting) Init(_ context.Context, projectID, owner string, total int64) (project.Change, error) {
	if total != 0 {
		return project.Change{}, errors.New("the event has no total")
	}
	c.created = append(c.created, projectID+" of "+owner)
	return project.Change{}, c.err
}

func dispatch(c *counting, body string) event.Decision {
	d := event.Delivery{Message: event.Message{RoutingKey: string(event.ProjectCreated), Body: []byte(body)}}
	err := rabbitmq.Created(c)(context.Background(), d)
	return event.Decide(err, d, event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Hour}, false, time.Now())
}

// real is what the Project service sends (docs/compatibility.md).
const real = `{"event_id":"0b0e3f9a-6d0e-4c5e-9f58-3f1f3c0f0b11","timestamp":"2026-01-31T09:30:00+07:00","payload":{
	"project_id":"9d3f","user_id":"7c2a","brand_name":"Acme","brand_keywords":["a","b"],"competitor_names":null,
	"competitor_keywords_map":{"x":["y"]},"date_range":{"from":"2026-01-01","to":"2026-01-31"}}}`

func TestCreated(t *testing.T) {
	t.Parallel()
	t.Run("creates the project of an event", func(t *testing.T) {
		t.Parallel()
		tests := map[string]struct {
			body    string
			err     error
			action  event.Action
			reason  string
			created []string
		}{
			"as the Project service sends it": {real, nil, event.Ack, "handled", []string{"9d3f of 7c2a"}},
			"every array null": {
				`{"event_id":"1","payload":{"project_id":"p","user_id":"u","brand_keywords":null,"competitor_keywords_map":null,"date_range":null}}`,
				nil, event.Ack, "handled", []string{"p of u"},
			},
			"in our own envelope": {
				`{"event_id":"evt_1","payload":{"project_id":"p","service":"project","data":{"project_id":"p","user_id":"u"}}}`,
				nil, event.Ack, "handled", []string{"p of u"},
			},
			"without an owner":    {`{"event_id":"1","payload":{"project_id":"p"}}`, nil, event.Dead, event.ReasonInvalid, nil},
			"without a project":   {`{"event_id":"1","payload":{"user_id":"u"}}`, nil, event.Dead, event.ReasonInvalid, nil},
			"an id of wrong type": {`{"event_id":"1","payload":{"project_id":1,"user_id":"u"}}`, nil, event.Dead, event.ReasonInvalid, nil},
			"no JSON":             {`project`, nil, event.Dead, event.ReasonUnreadable, nil},
			"an invalid id": {
				real, project.ErrBody.WithFields(map[string]string{"project_id": "is too long"}), event.Dead, event.ReasonInvalid,
				[]string{"9d3f of 7c2a"},
			},
			"Redis is unavailable": {real, project.ErrUnavailable, event.Retry, "retry", []string{"9d3f of 7c2a"}},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := &counting{err: tt.err}
				got := dispatch(c, tt.body)
				require.Equal(t, tt.action, got.Action)
				require.Equal(t, tt.reason, got.Outcome)
				require.Equal(t, tt.created, c.created)
			})
		}
	})
}
