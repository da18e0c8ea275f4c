package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// Inspector reads what is at the broker. It creates nothing but event.Exchange, which every process of ours declares.
// It uses a connection of its own per call.
type Inspector struct {
	options    rabbitmq.Options
	management string
}

// NewInspector returns an Inspector. managementURL is that of the management API, with user and password; without
// them those of the broker's URL are used, and "" stands for the broker's host and the port where the API listens by
// default (15672, with TLS 15671). Of several nodes, as in [rabbitmq.Options], one that responds is asked. No error or reason that comes from here quotes either URL.
func NewInspector(o rabbitmq.Options, managementURL string) *Inspector {
	return &Inspector{options: o, management: managementURL}
}

// Inspection is what was found. AMQP knows what exists, how many messages are ready and how many consumers there are;
// everything else is the management API's word, which is up to 10 s old.
type Inspection struct {
	Topic    ExchangeState
	Exchange ExchangeState // the one asked for
	Queues   []QueueState  // those asked for, in that order, then what else Exchange leads to
	Bindings []Binding     // with Exchange as source or destination; nil when unknown
	OfTopic  []Binding     // with event.Exchange as source; nil when unknown
	Unknown  []string      // what is unknown, and why
}

// Queue returns the state of one of Queues.
func (i Inspection) Queue(name string) QueueState {
	at := slices.IndexFunc(i.Queues, func(q QueueState) bool { return q.Name == name })
	if at < 0 {
		return QueueState{Name: name}
	}
	return i.Queues[at]
}

// Inspect looks at event.Exchange, at another exchange, at everything bound to that, and at queues. A broker that cannot
// be asked is an error; a management API that cannot be asked only leaves gaps.
func (i *Inspector) Inspect(ctx context.Context, exchange string, queues []string) (found Inspection, err error) {
	conn, err := rabbitmq.Dial(ctx, i.options)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if found.Topic, err = lookAtTopic(conn); err != nil {
		return found, err
	}
	if found.Exchange, err = lookAtExchange(conn, exchange); err != nil {
		return found, err
	}
	api, gap := findManagement(ctx, i.options.URL, i.management)
	if gap == nil {
		gap = api.look(ctx)
	}
	if gap == nil {
		gap = api.exchanges(ctx, &found)
	}
	if !found.Exchange.Exists {
		found.Bindings, found.Exchange.Writers = []Binding{}, []Writer{}
	}
	for _, name := range withBound(queues, exchange, found.Bindings) {
		q, err := lookAtQueue(conn, name)
		if err != nil && slices.Contains(queues, name) {
			return found, err
		}
		if err != nil { // another team's, which we may not be allowed to look at; that it exists is certain
			found.Unknown = append(found.Unknown, fmt.Sprintf("how full %s is: %v", name, err))
			q.Exists = true
		}
		found.Queues = append(found.Queues, q)
	}
	if gap == nil {
		gap = api.queues(ctx, found.Queues)
	}
	found.Unknown = append(found.Unknown, found.gaps(gap)...)
	if gap == nil {
		found.Unknown = append(found.Unknown, api.gaps()...)
	}
	return found, nil
}

// withBound adds to queues those that exchange leads to.
func withBound(queues []string, exchange string, bindings []Binding) []string {
	all := slices.Clone(queues)
	for _, b := range bindings {
		if b.Source == exchange && b.Kind == "queue" && !slices.Contains(all, b.Destination) {
			all = append(all, b.Destination)
		}
	}
	return all
}

// gaps lists what is unknown. refusal is why the management API could not be asked to the end; nil when it could.
func (i Inspection) gaps(refusal error) (gaps []string) {
	late := errors.New("the management API has no figure that fits yet; it is up to 10 s late, ask again")
	why := late
	if refusal != nil {
		why = refusal
	}
	if i.Exchange.Exists && i.Exchange.Type == "" {
		gaps = append(gaps, fmt.Sprintf("what kind of exchange %s is: %v", i.Exchange.Name, why))
	}
	if i.Bindings == nil {
		gaps = append(gaps, fmt.Sprintf("who is bound to %s: %v", i.Exchange.Name, why))
	}
	if i.OfTopic == nil {
		gaps = append(gaps, fmt.Sprintf("who is bound to %s: %v", i.Topic.Name, why))
	}
	var held, read []string
	for _, q := range i.Queues {
		if q.Exists && q.Unacked == nil {
			held = append(held, q.Name)
		}
		if q.Exists && q.Readers == nil {
			read = append(read, q.Name)
		}
	}
	if len(held) > 0 {
		gaps = append(gaps, fmt.Sprintf("how many messages are unacknowledged, or have just come, in %s: %v", strings.Join(held, ", "), why))
	}
	if len(read) > 0 {
		gaps = append(gaps, fmt.Sprintf("whose the consumers are of %s: %v", strings.Join(read, ", "), why))
	}
	return gaps
}

// lookAtTopic declares actively where that is permitted: only that reveals a wrong type.
func lookAtTopic(conn *amqp.Connection) (ExchangeState, error) {
	state := ExchangeState{Name: event.Exchange, Exists: true}
	lacks, err := checkExchange(conn)
	if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Code == amqp.PreconditionFailed {
		return state, nil // of another type, which the management API knows
	}
	if err != nil || len(lacks) > 0 { // what it is only the management API knows
		return state, err
	}
	state.Type, state.Durable = amqp.ExchangeTopic, new(true)
	return state, nil
}

func lookAtExchange(conn *amqp.Connection, name string) (ExchangeState, error) {
	state := ExchangeState{Name: name}
	err := OnChannel(conn, func(ch *amqp.Channel) error {
		// Asked passively, the broker does not compare the type.
		return ch.ExchangeDeclarePassive(name, amqp.ExchangeDirect, true, false, false, false, nil)
	})
	if missing(err) {
		return state, nil
	}
	state.Exists = err == nil
	return state, about(name, err)
}

func lookAtQueue(conn *amqp.Connection, name string) (QueueState, error) {
	state := QueueState{Name: name}
	err := OnChannel(conn, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		state.Ready, state.Consumers = q.Messages, q.Consumers
		return err
	})
	if missing(err) {
		return state, nil
	}
	state.Exists = err == nil
	if state.Consumers == 0 {
		state.Readers = []Reader{}
	}
	return state, about(name, err)
}

func missing(err error) bool {
	refusal, ok := errors.AsType[*amqp.Error](err)
	return ok && refusal.Code == amqp.NotFound
}

func about(name string, err error) error {
	if err != nil {
		return fmt.Errorf("rabbitmq: looking at %s: %w", name, err)
	}
	return nil
}

// Look checks the exchange as [Publisher.Check] does, and returns how full the queues of these names are. One that does not
// exist is not in it. An alarm it does not see: the broker tells only those who publish.
func (i *Inspector) Look(ctx context.Context, names []string) (h ExchangeHealth, found map[string]event.Depth, err error) {
	h.Name = event.Exchange
	conn, err := rabbitmq.Dial(ctx, i.options)
	if err != nil {
		return h, nil, err
	}
	found, err = Within(ctx, func() (map[string]event.Depth, error) {
		if h.Lacks, err = checkExchange(conn); err != nil {
			return nil, err
		}
		return depths(conn, names)
	})
	return h, found, rabbitmq.Plain(errors.Join(err, conn.Close()))
}

// Unacked returns how many messages the consumers of each queue hold, by the management API. A queue that it has no figure
// for yet is not in it.
func (i *Inspector) Unacked(ctx context.Context, names []string) (map[string]int, error) {
	api, err := findManagement(ctx, i.options.URL, i.management)
	if err != nil {
		return nil, err
	}
	queues := make([]QueueState, len(names))
	for i, name := range names {
		queues[i] = QueueState{Name: name, Exists: true}
	}
	err = api.queues(ctx, queues)
	found := map[string]int{}
	for _, q := range queues {
		if q.Unacked != nil {
			found[q.Name] = *q.Unacked
		}
	}
	return found, err
}
