// Package usecase owns the use cases of subscriptions, one file per verb. [Lifecycle] changes subscriptions in the
// database and publishes events; [Projection] copies the events to the [subscription.StateStore] that other services
// read.
//
// The package does not promise that the StateStore is current when a change returns: the events do that.
package usecase

import (
	"cmp"
	"context"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// LifecycleDeps are the dependencies of [Lifecycle]. All are required.
type LifecycleDeps struct {
	Tx            subscription.Transactor
	Clock         subscription.Clock
	Subscriptions subscription.Repository
	Plans         subscription.PlanRepository
	Trials        subscription.TrialRepository
	TrialKey      subscription.TrialKey
	Users         subscription.Users
	Events        event.Publisher // must join the transactions of Tx
	Audit         audit.Recorder
	PastDueGrace  time.Duration // see [subscription.Subscription.EffectiveUntil]
}

// Lifecycle starts, shows and changes subscriptions. Safe for concurrent use.
//
// Of the subscriptions of a user at most one entitles them, the current one. Nothing but the current one is changed, and
// none is begun while the current one has a live status or entitles. Every change is made under the user's lock.
type Lifecycle struct{ deps LifecycleDeps }

// NewLifecycle returns a Lifecycle on d.
func NewLifecycle(d LifecycleDeps) *Lifecycle { return &Lifecycle{d} }

// current returns the subscription of the user that was changed last, a zero one for a user who never had any.
func (l *Lifecycle) current(ctx context.Context, userID string) (subscription.Subscription, error) {
	held, err := l.deps.Subscriptions.LatestOf(ctx, userID)
	if err != nil {
		return subscription.Subscription{}, err
	}
	s, _ := subscription.Latest(held, l.deps.Clock.Now(), l.deps.PastDueGrace)
	return s, nil
}

// lockCurrent locks the user of a subscription and returns it as it then is, and whether it is the current one.
func (l *Lifecycle) lockCurrent(
	ctx context.Context, s subscription.Subscription,
) (locked subscription.Subscription, isCurrent bool, err error) {
	if _, err := l.deps.Subscriptions.Lock(ctx, s.UserID); err != nil {
		return locked, false, err
	}
	// Read again under the lock: a concurrent call may just have changed it.
	if locked, err = l.deps.Subscriptions.ByID(ctx, s.ID); err != nil {
		return locked, false, err
	}
	current, err := l.current(ctx, s.UserID)
	return locked, current.ID == s.ID, err
}

// begin stores s as a new subscription and publishes it.
func (l *Lifecycle) begin(ctx context.Context, s *subscription.Subscription, c subscription.Change) error {
	return l.record(ctx, s, c, l.deps.Subscriptions.Create)
}

// update stores and publishes a change of s.
func (l *Lifecycle) update(ctx context.Context, s *subscription.Subscription, c subscription.Change) error {
	return l.record(ctx, s, c, l.deps.Subscriptions.Update)
}

func (l *Lifecycle) record(
	ctx context.Context, s *subscription.Subscription, c subscription.Change,
	store func(context.Context, subscription.Subscription) error,
) (err error) {
	if s.Version, err = l.deps.Subscriptions.NextVersion(ctx, s.UserID); err != nil {
		return err
	}
	if err := store(ctx, *s); err != nil {
		return err
	}
	if err := l.deps.Events.Publish(ctx, changeEvent(*s, c, l.deps.PastDueGrace)); err != nil {
		return err
	}
	action := audit.SubscriptionChanged
	switch c.Notice {
	case subscription.NoticeCreated:
		action = audit.SubscriptionCreated
	case subscription.NoticeCancelled:
		action = audit.SubscriptionCancelled
	}
	return l.audit(ctx, action, *s, c.ActorID, c.Reason)
}

func (l *Lifecycle) audit(
	ctx context.Context, action audit.Action, s subscription.Subscription, actorID, reason string,
) error {
	return l.deps.Audit.Record(ctx, audit.Entry{
		Action:    action,
		ActorID:   actorID,
		UserID:    s.UserID,
		SubjectID: s.ID,
		Details:   audit.Details{Reason: reason},
	})
}

// byActor returns the change with its reason, and the administrator who made it for the user. Administrators may change
// a subscription of their own: then they are users. Only a cancellation has a reason of a person.
func byActor(c subscription.Change, s subscription.Subscription, actor subscription.Actor, reason string) subscription.Change {
	c.ActorID = actor.UserID
	switch {
	case c.Notice != subscription.NoticeCancelled:
	case actor.UserID == s.UserID:
		c.Reason = cmp.Or(reason, reasonUser)
	default:
		c.Reason, c.AdminID = cmp.Or(reason, reasonAdmin), actor.UserID
	}
	return c
}

// ProjectionDeps are the dependencies of [Projection]. All are required.
type ProjectionDeps struct {
	Clock         subscription.Clock
	Subscriptions subscription.LatestRepository
	States        subscription.StateStore
	PastDueGrace  time.Duration
}

// Projection keeps the copy in the [subscription.StateStore]. Safe for concurrent use.
type Projection struct{ deps ProjectionDeps }

// NewProjection returns a Projection on d.
func NewProjection(d ProjectionDeps) *Projection { return &Projection{d} }
