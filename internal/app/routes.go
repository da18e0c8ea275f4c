package app

import (
	"context"
	"slices"
	"time"

	"github.com/smap-platform/identity/config"
	authevents "github.com/smap-platform/identity/internal/authentication/delivery/rabbitmq"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	invitationevents "github.com/smap-platform/identity/internal/invitation/delivery/rabbitmq"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/internal/legacy"
	mailevents "github.com/smap-platform/identity/internal/notification/delivery/rabbitmq"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	projectevents "github.com/smap-platform/identity/internal/project/delivery/rabbitmq"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	subscriptionevents "github.com/smap-platform/identity/internal/subscription/delivery/rabbitmq"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
)

// The queues of this service.
const (
	EmailQueue        = "identity.email"
	InvitationQueue   = "identity.invitation"
	SubscriptionQueue = "identity.subscription"
	ProjectQueue      = "identity.project"
)

// mailQueues are the queues whose handlers need the mail server.
var mailQueues = []string{EmailQueue, InvitationQueue, LegacyQueue}

// handlers are what the routing table hands events to.
type handlers struct {
	notices        *authentications.NoticeSender
	codeMail       *authentications.CodeMailSender
	invitationMail *invitations.MailSender
	mails          *notifications.Sender
	projection     *subscriptions.Projection
	counting       *projects.Counting
	shadow         *legacy.Shadow
	unnamed        *legacy.Unnamed
	written        legacy.Mailer
	// counted is around events that are items of a project.
	counted event.Middleware
}

// route is a line of the routing table.
type route struct {
	queue   string
	binding string           // of the queue on the exchange; empty: the queue is filled by name
	key     event.RoutingKey // empty: whatever key the queue's messages have
	handle  event.Handler
	around  []event.Middleware // outside the limits on tries: they are told how the work has ended
}

// routes is the routing table: which queue is bound to what, and which handler does the work of which key.
func routes(h handlers) []route {
	const trialEnding = string(event.EmailTrialEndingRequested)
	giveUp := mailevents.GiveUp(h.mails)
	code := []event.Middleware{legacy.Sent(giveUp)}
	invitation := []event.Middleware{h.counted, giveUp}
	mail := []event.Middleware{giveUp}
	return []route{
		{EmailQueue, "email.#", event.EmailVerificationRequested, h.shadow.Compare(authevents.SendCode(h.codeMail)), code},
		{EmailQueue, "email.#", event.EmailPasswordResetRequested, authevents.SendReset(h.codeMail), mail},
		{EmailQueue, "email.#", event.EmailAccountExistsRequested, authevents.SendAccountExists(h.notices), mail},
		{EmailQueue, "email.#", event.EmailSecurityNoticeRequested, mailevents.SendSecurityNotice(h.mails), mail},
		{InvitationQueue, "invitation.#", event.InvitationRequested, invitationevents.SendMail(h.invitationMail), invitation},
		{EmailQueue, "email.#", event.EmailProjectCompletedRequested, mailevents.SendProjectCompleted(h.mails), mail},
		{InvitationQueue, trialEnding, event.EmailTrialEndingRequested, mailevents.SendTrialEnding(h.mails), mail},
		{EmailQueue, "email.#", event.EmailTrialEndingRequested, sentElsewhere, nil},
		{SubscriptionQueue, "subscription.#", event.SubscriptionCreated, subscriptionevents.Created(h.projection), nil},
		{SubscriptionQueue, "subscription.#", event.SubscriptionCancelled, subscriptionevents.Cancelled(h.projection), nil},
		{SubscriptionQueue, "subscription.#", event.SubscriptionStatusChanged, subscriptionevents.StatusChanged(h.projection), nil},
		{ProjectQueue, "project.created", event.ProjectCreated, projectevents.Created(h.counting), nil},
		{LegacyQueue, "", "", h.unnamed.Guard(legacy.Forward(h.written)), mail},
	}
}

// sentElsewhere acks the copy of a mail's event that its name brings into the queue of codes. Reminders come by the
// thousand, and are sent by the queue of batches: no code waits for one.
func sentElsewhere(context.Context, event.Delivery) error { return nil }

// Queues returns every queue of this service as the broker has to know it. Its arguments follow from names and levels
// and are immutable there: a change of levels is a new queue name.
func Queues(cfg config.Config) []event.Queue {
	mails := event.Policy{
		Levels:      []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute},
		GiveUpAfter: time.Hour,
	}
	states := event.Policy{
		Levels:      append(slices.Clone(mails.Levels), 10*time.Minute),
		GiveUpAfter: time.Hour,
	}
	queues := []event.Queue{
		{Name: EmailQueue, Retry: mails, Workers: cfg.Email.Count, Prefetch: cfg.Email.Prefetch},
		{Name: InvitationQueue, Retry: mails, Workers: cfg.Invitation.Count, Prefetch: cfg.Invitation.Prefetch},
		// What these do is a state in Redis, which the same event brings about again.
		{Name: SubscriptionQueue, Retry: states, Workers: cfg.Subscription.Count, Prefetch: cfg.Subscription.Prefetch, Repeatable: true},
		{Name: ProjectQueue, Retry: states, Workers: cfg.Project.Count, Prefetch: cfg.Project.Prefetch, Repeatable: true},
	}
	queues = append(queues, legacyQueues(cfg, mails)...)
	for i := range queues {
		for _, r := range routes(handlers{}) {
			if r.queue == queues[i].Name && r.binding != "" && !slices.Contains(queues[i].Bindings, r.binding) {
				queues[i].Bindings = append(queues[i].Bindings, r.binding)
			}
		}
	}
	return queues
}

// consumers joins queues, handlers and observer.
func (in *infra) consumers(h handlers) []event.Consumer {
	table := routes(h)
	queues := Queues(in.cfg)
	consumers := make([]event.Consumer, len(queues))
	for i, q := range queues {
		router := event.NewRouter()
		handle := router.Dispatch
		for _, r := range table {
			if r.queue != q.Name {
				continue
			}
			limits := []event.Middleware{event.Limit(q.Retry, in.clock.Now), event.Timeout(in.handlerTimeout()), event.Recover}
			chain := event.Chain(r.handle, slices.Concat(r.around, limits)...)
			if r.key == "" {
				handle = chain
			} else {
				router.On(r.key, chain)
			}
		}
		consumers[i] = event.Consumer{
			Queue:    q,
			Handle:   event.Chain(handle, event.Recover),
			Observer: in.consumeObserver(),
			Lane:     in.newLane(q),
		}
	}
	return consumers
}

// newLane returns the lane of a queue that sends mail, and nil for any other.
func (in *infra) newLane(q event.Queue) *event.Lane {
	if !slices.Contains(mailQueues, q.Name) {
		return nil
	}
	lane := event.NewLane(q.Name, event.DefaultProbing, in.clock.Now, in.laneChanged)
	in.lanes = append(in.lanes, lane)
	return lane
}
