package rabbitmq

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/project"
)

// countTimeout bounds what counting may add to a delivery: no mail waits for Redis.
const countTimeout = time.Second

// Marker counts items of a project.
type Marker interface {
	Mark(ctx context.Context, projectID string, items []project.Item) (project.Change, error)
}

// CountItem returns the middleware for keys whose events are the items of their project. When the work of such an event
// has ended, the item with the event's id is counted: as done when it was handled, now or before, as failed when it was
// dropped or is about to be dead-lettered. A replay that succeeds repairs that.
//
// An item that cannot be counted holds nothing up: missed is told, and whoever owns the items counts them from the
// database.
func CountItem(m Marker, missed func(d event.Delivery, projectID string, err error)) event.Middleware {
	count := event.OnEnd(func(ctx context.Context, d event.Delivery, outcome string, _ bool) error {
		e := *d.Decoded
		if e.ID == "" { // its handler was not run
			var err error
			if e, _, err = event.Decode[struct{}](d.Message); err != nil {
				return nil //nolint:nilerr // an event that cannot be read belongs to no project
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
