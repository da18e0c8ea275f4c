package app

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	"github.com/smap-platform/identity/internal/project"
	projects "github.com/smap-platform/identity/internal/project/usecase"
)

// markTimeout bounds what counting may add to a delivery: Redis is not what a mail waits for.
const markTimeout = time.Second

// tracking marks an item of a project when the work of an event with a tracked key has ended: ok when the mail was sent,
// now or before, failed when it was dropped or is dead-lettered. A replay that succeeds repairs it.
type tracking struct {
	mails    *notifications.Sender
	counting *projects.Counting
	metrics  *metrics
	log      zerolog.Logger
}

// settle is the Consumer.Settle of every queue. That a mail was given up is in the ledger before its event is
// dead-lettered, or it is not dead-lettered yet: progress is rebuilt from there. A mark that is missed because Redis is
// away keeps nobody: the Repairer counts it.
func (t tracking) settle(ctx context.Context, d event.Delivery, decision event.Decision) error {
	key := event.RoutingKey(d.RoutingKey)
	if !tracked[key] || d.ID == "" {
		return nil
	}
	if decision.Action == event.Dead {
		if err := t.mails.GiveUp(ctx, d.ID, decision.Outcome); err != nil {
			return err
		}
	}
	e, _, err := event.Decode[struct{}](d.Message)
	if err != nil || e.ProjectID == "" {
		return nil // an event that cannot be read belongs to nobody's project
	}
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	failed := decision.Outcome != "handled" && decision.Outcome != event.DropDuplicate
	if _, err := t.counting.Mark(ctx, e.ProjectID, []project.Item{{ID: e.ID, Failed: failed}}); err != nil {
		t.metrics.marksMissed.Inc()
		t.log.Debug().Err(err).Str("event_id", d.ID).Str("project_id", e.ProjectID).
			Msg("an item was not counted; it will be from the database")
	}
	return nil
}
