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

// Inspector tells what is at the broker. It creates nothing but event.Exchange, which every process of ours declares.
// It uses a connection of its own per call.
type Inspector struct {
	options    rabbitmq.Options
	management string
}

// NewInspector answers an Inspector. managementURL is that of the management API, with user and password; without
// them those of the broker's URL are used, and "" stands for the broker's host and the port where the API listens by
// default (15672, with TLS 15671). No error or reason that comes from here quotes either URL.
func NewInspector(o rabbitmq.Options, managementURL string) *Inspector {
	return &Inspector{options: o, management: managementURL}
}

// Inspection is what was found. AMQP knows what exists, how many messages are ready and how many consumers there are;
// everything else is the management API's word, which is up to 10 s old.
type Inspection struct {
	Topic    event.ExchangeState
	Fanout   event.ExchangeState
	Queues   []event.QueueState // those asked for, in that order, then what else the fanout exchange leads to
	Bindings []event.Binding    // with the fanout exchange as source or destination; nil when not known
	OfTopic  []event.Binding    // with event.Exchange as source; nil when not known
	Unknown  []string           // what is not known, and why
}

// Queue answers the state of one of Queues.
func (i Inspection) Queue(name string) event.QueueState {
	at := slices.IndexFunc(i.Queues, func(q event.QueueState) bool { return q.Name == name })
	if at < 0 {
		return event.QueueState{Name: name}
	}
	return i.Queues[at]
}

// Inspect looks at event.Exchange, at the exchange called fanout, at everything bound to that, and at the queues. A
// broker that cannot be asked is an error; a management API that cannot only leaves gaps.
func (i *Inspector) Inspect(ctx context.Context, fanout string, queues []string) (found Inspection, err error) {
	conn, err := rabbitmq.Dial(ctx, i.options)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if found.Topic, err = lookAtTopic(conn); err != nil {
		return found, err
	}
	if found.Fanout, err = lookAtExchange(conn, fanout); err != nil {
		return found, err
	}
	api, gap := openManagement(i.options.URL, i.management)
	if gap == nil {
		gap = api.look(ctx)
	}
	if gap == nil {
		gap = api.exchanges(ctx, &found)
	}
	if !found.Fanout.Exists {
		found.Bindings, found.Fanout.Writers = []event.Binding{}, []event.Writer{}
	}
	for _, name := range withBound(queues, fanout, found.Bindings) {
		q, err := lookAtQueue(conn, name)
		if err != nil && slices.Contains(queues, name) {
			return found, err
		}
		if err != nil { // somebody else's, which we may not be allowed to look at; that it is there is certain
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
func withBound(queues []string, exchange string, bindings []event.Binding) []string {
	all := slices.Clone(queues)
	for _, b := range bindings {
		if b.Source == exchange && b.Kind == "queue" && !slices.Contains(all, b.Destination) {
			all = append(all, b.Destination)
		}
	}
	return all
}

// gaps says what is not known. refusal is why the management API could not be asked to the end; nil when it could.
func (i Inspection) gaps(refusal error) (gaps []string) {
	late := errors.New("the management API has no figure that fits yet; it is up to 10 s late, ask again")
	why := late
	if refusal != nil {
		why = refusal
	}
	if i.Fanout.Exists && i.Fanout.Type == "" {
		gaps = append(gaps, fmt.Sprintf("what kind of exchange %s is: %v", i.Fanout.Name, why))
	}
	if i.Bindings == nil {
		gaps = append(gaps, fmt.Sprintf("who is bound to %s: %v", i.Fanout.Name, why))
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

// lookAtTopic declares actively: only that reveals a wrong type.
func lookAtTopic(conn *amqp.Connection) (event.ExchangeState, error) {
	state := event.ExchangeState{Name: event.Exchange, Exists: true}
	err := checkExchange(conn)
	if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Code == amqp.PreconditionFailed {
		return state, nil // it is something else; the management API knows what
	}
	if err != nil {
		return state, err
	}
	state.Type, state.Durable = amqp.ExchangeTopic, new(true)
	return state, nil
}

func lookAtExchange(conn *amqp.Connection, name string) (event.ExchangeState, error) {
	state := event.ExchangeState{Name: name}
	err := onChannel(conn, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(name, amqp.ExchangeFanout, true, false, false, false, nil)
	})
	if missing(err) {
		return state, nil
	}
	state.Exists = err == nil
	return state, about(name, err)
}

func lookAtQueue(conn *amqp.Connection, name string) (event.QueueState, error) {
	state := event.QueueState{Name: name}
	err := onChannel(conn, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		state.Ready, state.Consumers = q.Messages, q.Consumers
		return err
	})
	if missing(err) {
		return state, nil
	}
	state.Exists = err == nil
	if state.Consumers == 0 {
		state.Readers = []event.Reader{}
	}
	return state, about(name, err)
}

// onChannel asks on a channel of its own, because the answer "there is none" closes it.
func onChannel(conn *amqp.Connection, ask func(*amqp.Channel) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("rabbitmq: opening a channel: %w", err)
	}
	if err := ask(ch); err != nil {
		return err
	}
	return ch.Close()
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
