package app

import (
	"context"
	"time"

	"github.com/smap-platform/identity/config"
	authevents "github.com/smap-platform/identity/internal/authentication/delivery/rabbitmq"
	"github.com/smap-platform/identity/internal/event"
	subscriptionevents "github.com/smap-platform/identity/internal/subscription/delivery/rabbitmq"
)

// The queues of this service. Their arguments follow from these lines and are immutable at the broker: a change of
// levels is a new queue name.
const (
	EmailQueue        = "identity.email"
	SubscriptionQueue = "identity.subscription"
)

// Queues answers every queue of this service: name ← bindings, retry levels, and how much one process takes on.
func Queues(cfg config.Config) []event.Queue {
	return []event.Queue{
		{
			Name: EmailQueue, Bindings: []string{"email.#"},
			Retry:   event.Policy{Levels: []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute}, GiveUpAfter: time.Hour},
			Workers: cfg.Email.Count, Prefetch: cfg.Email.Prefetch,
		},
		{
			Name: SubscriptionQueue, Bindings: []string{"subscription.#"},
			Retry:   event.Policy{Levels: []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}, GiveUpAfter: time.Hour},
			Workers: cfg.Subscription.Count, Prefetch: cfg.Subscription.Prefetch,
		},
	}
}

// routers answers THE routing table: which handler does the work of which routing key, per queue.
//
//	identity.email         email.verification.requested    → the mail with the code, while it is current
//	identity.subscription  subscription.created            ┐
//	                       subscription.cancelled          ├ the user's state in Redis, never backwards
//	                       subscription.status_changed     ┘
func (d *domains) routers() map[string]*event.Router {
	email, subscriptions := event.NewRouter(), event.NewRouter()
	authevents.Register(email, d.codeMail)
	subscriptionevents.Register(subscriptions, d.projection)
	return map[string]*event.Router{EmailQueue: email, SubscriptionQueue: subscriptions}
}

// consumers joins queues, handlers and observer. No handler outlives limit: a dependency that hangs is an error, and
// the retry levels wait better than a handler does.
func (d *domains) consumers(queues []event.Queue, limit time.Duration, observer event.Observer) []event.Consumer {
	routers := d.routers()
	consumers := make([]event.Consumer, len(queues))
	for i, q := range queues {
		consumers[i] = event.Consumer{Queue: q, Observer: observer, Handle: func(ctx context.Context, e event.Delivery) error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return routers[q.Name].Dispatch(ctx, e)
		}}
	}
	return consumers
}
