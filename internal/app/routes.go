package app

import (
	"slices"
	"time"

	"github.com/smap-platform/identity/config"
	authevents "github.com/smap-platform/identity/internal/authentication/delivery/rabbitmq"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/fanout"
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
	// LegacyQueue takes what the previous release's queue has handed us and could not be sent at once.
	LegacyQueue = "identity.legacy"
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
	if cfg.Events.Phase == "" { // the standalone, where there never was a previous release
		return queues
	}
	legacy := event.Queue{Name: LegacyQueue, Retry: mails, Workers: cfg.Email.Count, Prefetch: cfg.Email.Prefetch}
	if cfg.Events.ConsumeLegacy {
		legacy.Source = fanout.Queue
	}
	return append(queues, legacy)
}

// route is a line of the routing table.
type route struct {
	queue  string
	key    event.RoutingKey // empty: every message of the queue
	handle event.Handler
	around []event.Middleware // outside the limits on tries: they see how the work has ended
}

// routes is the routing table: which handler does the work of which routing key.
func (d *domains) routes() []route {
	router := event.NewRouter()
	authevents.Register(router, d.codeMail)
	authevents.RegisterInvitations(router, d.invitationMail)
	mailevents.Register(router, d.closingMail)
	subscriptionevents.Register(router, d.projection)
	projectevents.Register(router, d.counting)
	h := router.Dispatch
	return []route{
		{EmailQueue, event.EmailVerificationRequested, d.shadow.Instead(h), nil},
		{EmailQueue, event.EmailInvitationRequested, h, []event.Middleware{d.countItem, mailevents.GiveUp(d.closingMail)}},
		{EmailQueue, event.EmailProjectCompletedRequested, h, nil},
		{SubscriptionQueue, event.SubscriptionCreated, h, nil},
		{SubscriptionQueue, event.SubscriptionCancelled, h, nil},
		{SubscriptionQueue, event.SubscriptionStatusChanged, h, nil},
		{ProjectQueue, event.ProjectCreated, h, nil},
		{LegacyQueue, "", d.unnamed.Around(fanout.Forward(d.forward)), nil},
	}
}

// consumers joins queues, handlers and observer.
func (d *domains) consumers(queues []event.Queue, limit time.Duration, now func() time.Time, observer event.Observer) []event.Consumer {
	consumers := make([]event.Consumer, len(queues))
	for i, q := range queues {
		router := event.NewRouter()
		handle := router.Dispatch
		for _, r := range d.routes() {
			if r.queue != q.Name {
				continue
			}
			h := event.Chain(r.handle, append(slices.Clone(r.around), event.Limit(q.Retry, now), event.Timeout(limit), event.Recover)...)
			if r.key == "" {
				handle = h
				continue
			}
			router.On(r.key, h)
		}
		consumers[i] = event.Consumer{Queue: q, Handle: event.Chain(handle, event.Recover), Observer: observer}
	}
	return consumers
}
