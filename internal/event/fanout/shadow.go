package fanout

import (
	"context"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

// ShadowObserver counts. ShadowCompared is called once per event, by the process that has recorded it.
type ShadowObserver interface{ ShadowCompared(match bool) }

// Shadow compares stamped topic copies with the fanout copies that are sent in their stead. It sends nothing and does not
// touch the mail ledger.
type Shadow struct {
	db       *database.DB
	clock    Clock
	render   Render
	digests  Digests
	observer ShadowObserver
}

// NewShadow answers a Shadow. render has to be the one that the topic path sends by: it is what the comparison is about.
func NewShadow(db *database.DB, clock Clock, render Render, digests Digests, observer ShadowObserver) *Shadow {
	return &Shadow{db: db, clock: clock, render: render, digests: digests, observer: observer}
}

// Instead answers a handler that compares a copy stamped OwnerLegacy, whatever phase this process is in, and hands every
// other one to next. Whether the code is still of use does not matter here: the mail is written as of its event's time.
//
// A copy that differs is recorded and done: the mail has been sent. One that cannot be turned into a mail is recorded
// too, and dead-lettered: in a later phase it would have been a mail that is lost.
func (s *Shadow) Instead(next event.Handler) event.Handler {
	return func(ctx context.Context, m event.Delivery) error {
		if m.Headers[HeaderOwner] != OwnerLegacy {
			return next(ctx, m)
		}
		return s.compare(ctx, m.Message)
	}
}

func (s *Shadow) compare(ctx context.Context, m event.Message) error {
	l, unusable := write(ctx, s.render, m)
	if unusable != nil {
		if _, err := s.record(ctx, m.ID, []string{s.classOf(unusable, m)}); err != nil {
			return err
		}
		return unusable
	}
	fresh, err := s.record(ctx, l.eventID, s.digests.differing(m.Headers, l.eventID, l.mail))
	if err == nil && !fresh {
		return event.Drop(event.DropDuplicate)
	}
	return err
}

// record stores a result and tells whether it is the first of its event.
func (s *Shadow) record(ctx context.Context, eventID string, differing []string) (fresh bool, err error) {
	fresh, err = saveShadow(ctx, s.db, eventID, differing, s.clock.Now())
	if fresh {
		s.observer.ShadowCompared(len(differing) == 0)
	}
	return fresh, err
}

// classOf is what the dead queue will call it.
func (s *Shadow) classOf(err error, m event.Message) string {
	d := event.Decide(err, event.Delivery{Message: m}, event.Policy{}, false, s.clock.Now())
	return d.Headers[event.HeaderError]
}
