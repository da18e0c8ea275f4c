// Package rabbitmq passes the Project service's events to the use cases. It depends on no broker: the in-process broker
// runs the same handlers.
package rabbitmq

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
)

// Counting is the use case that the events reach.
type Counting interface {
	Init(ctx context.Context, projectID, owner string, total int64) (project.Change, error)
}

// Created returns the handler of project.created. It creates the project without a total, which comes later, and
// overwrites nothing that the Project service wrote itself. An event with invalid ids is dead-lettered; while Redis is
// unavailable the event is retried.
func Created(c Counting) event.Handler {
	return event.Handle(func(ctx context.Context, _ event.Received, d event.ProjectCreatedData) error {
		_, err := c.Init(ctx, d.ProjectID, d.UserID, 0)
		if errors.Is(err, project.ErrBody) {
			return event.Permanent(event.ReasonInvalid, err)
		}
		return err
	})
}
