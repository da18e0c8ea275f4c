package app

import (
	"context"
	"time"

	"github.com/smap-platform/identity/config"
	authevents "github.com/smap-platform/identity/internal/authentication/delivery/rabbitmq"
	"github.com/smap-platform/identity/internal/event"
	mailevents "github.com/smap-platform/identity/internal/notification/delivery/rabbitmq"
	projectevents "github.com/smap-platform/identity/internal/project/delivery/rabbitmq"
	subscriptionevents "github.com/smap-platform/identity/internal/subscription/delivery/rabbitmq"
)

// The queues of this service. Their arguments follow from these lines and are immutable at the broker: a change of
// levels is a new queue name.
const (
	EmailQueue        = "identity.email"
	SubscriptionQueue = "identity.subscription"
	ProjectQueue      = "identity.project"
)

// Queues answers every queue of this service: name ← bindings, retry levels, and how much one process takes on.
func Queues(cfg config.Config) []event.Queue {
	mails := event.Policy{
		Levels:      []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute},
		GiveUpAfter: time.Hour,
	}
	states := event.Policy{
		Levels:      []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute},
		GiveUpAfter: time.Hour,
	}
	queues := []event.Queue{
		{
			Name: EmailQueue, Bindings: []string{"email.#"},
			Retry: mails, Workers: cfg.Email.Count, Prefetch: cfg.Email.Prefetch,
		},
		{
			Name: SubscriptionQueue, Bindings: []string{"subscription.#"},
			Retry: states, Workers: cfg.Subscription.Count, Prefetch: cfg.Subscription.Prefetch,
		},
		{
			Name: ProjectQueue, Bindings: []string{string(event.ProjectCreated)},
			Retry: states, Workers: cfg.Project.Count, Prefetch: cfg.Project.Prefetch,
		},
	}
	return append(queues, legacyQueue(cfg, mails)...)
}

// tracked are the keys whose events are items of a project: one is marked when its handler ends, its id is the event's.
var tracked = map[event.RoutingKey]bool{event.EmailInvitationRequested: true}

// routers answers THE routing table: which handler does the work of which routing key, per queue.
//
//	identity.email         email.verification.requested       → the mail with the code, while it is current;
//	                                                            stamped "legacy": compared, never sent
//	                       email.invitation.requested         → the mail with the token, while it is wanted; tracked
//	                       email.project_completed.requested  → the closing mail of a batch
//	identity.subscription  subscription.created               ┐
//	                       subscription.cancelled             ├ the user's state in Redis, never backwards
//	                       subscription.status_changed        ┘
//	identity.project       project.created                    → a project in Redis that can be counted
//	identity.legacy        (none)                             → the previous release's mail, as it stands
func (d *domains) routers() map[string]*event.Router {
	email, subscriptions, projects, legacy := event.NewRouter(), event.NewRouter(), event.NewRouter(), event.NewRouter()
	authevents.Register(email, d.codeMail)
	email.Wrap(event.EmailVerificationRequested, d.wing.comparing)
	authevents.RegisterInvitations(email, d.invitationMail)
	mailevents.Register(email, d.closingMail)
	subscriptionevents.Register(subscriptions, d.projection)
	projectevents.Register(projects, d.counting)
	legacy.Else(d.wing.forwarding(d.closingMail))
	return map[string]*event.Router{
		EmailQueue: email, SubscriptionQueue: subscriptions, ProjectQueue: projects, LegacyQueue: legacy,
	}
}

// consumers joins queues, handlers and observer. No handler outlives limit: a dependency that hangs is an error, and
// the retry levels wait better than a handler does.
func (d *domains) consumers(queues []event.Queue, limit time.Duration, observer event.Observer) []event.Consumer {
	routers := d.routers()
	consumers := make([]event.Consumer, len(queues))
	for i, q := range queues {
		consumers[i] = event.Consumer{Queue: q, Observer: observer, Settle: d.tracking.settle, Handle: func(ctx context.Context, e event.Delivery) error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return routers[q.Name].Dispatch(ctx, e)
		}}
	}
	return consumers
}
