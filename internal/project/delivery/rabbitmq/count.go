package rabbitmq

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
)

// countTimeout bounds the time that counting adds to a delivery: no mail waits for Redis.
const countTimeout = time.Second

// Marker is the use case that counts items.
type Marker interface {
	Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error)
}

// CountItem returns the middleware for keys whose events are items of their project. At the end of such an event it
// marks the item with the event's id: as ok if the event was handled, now or before, and as failed if it was dropped
// or is about to be dead-lettered. A successful replay repairs a failed item.
//
// An item that cannot be counted holds nothing up: CountItem calls missed, and the owner of the items counts them later
// from the database.
func CountItem(m Marker, missed func(d event.Delivery, projectID string, err error)) event.Middleware {
	count := event.OnEnd(func(ctx context.Context, d event.Delivery, outcome string, _ bool) error {
		e := *d.Decoded
		if e.ID == "" { // the handler did not run
			var err error
			if e, _, err = event.Decode[struct{}](d.Message); err != nil {
				return nil // an unreadable event belongs to no project
			}
		}
		if d.ID == "" || e.ProjectID == "" {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, countTimeout)
		defer cancel()
		failed := outcome != event.Handled && outcome != event.DropDuplicate
		if _, err := m.Mark(ctx, e.ProjectID, []project.Item{{ID: e.ID, Failed: failed}}); err != nil {
			missed(d, e.ProjectID, err)
		}
		return nil
	})
	return func(next event.Handler) event.Handler {
		counted := count(next)
		return func(ctx context.Context, d event.Delivery) error {
			d.Decoded = &event.Received{}
			return counted(ctx, d)
		}
	}
}
