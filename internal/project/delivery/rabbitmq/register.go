// Package rabbitmq hands the Project service's events to the tracker. It knows no broker: the in-process one runs the
// same handlers.
package rabbitmq

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
)

// Counting is what the events are told to.
type Counting interface {
	Init(ctx context.Context, projectID, owner string, total int64) (project.Change, error)
}

// Register puts the handler of project.created on r: the project can be counted from then on. Its total comes later,
// and what the Project service has written itself stays. Ids that cannot be are dead-lettered as invalid; while Redis is
// away the event is tried again.
func Register(r *event.Router, c Counting) {
	r.On(event.ProjectCreated, event.Handle(func(ctx context.Context, _ event.Received, d event.ProjectCreatedData) error {
		_, err := c.Init(ctx, d.ProjectID, d.UserID, 0)
		if errors.Is(err, project.ErrBody) {
			return event.Permanent(event.ReasonInvalid, err)
		}
		return err
	}))
}
