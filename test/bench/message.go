package main

import (
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// messages answers n real events, encoded: subscription.created of a trial, about 500 bytes on the wire.
func messages(n int) ([]event.Message, error) {
	out := make([]event.Message, n)
	for i := range out {
		m, err := event.Encode(subscriptionCreated())
		if err != nil {
			return nil, err
		}
		m.Headers[event.HeaderTraceparent] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		out[i] = m
	}
	return out, nil
}

func subscriptionCreated() event.Event {
	now := time.Now().UTC().Truncate(time.Microsecond)
	end := now.AddDate(0, 0, 14)
	return event.Event{
		ID: event.NewID(), Key: event.SubscriptionCreated, Time: now,
		Data: event.SubscriptionCreatedData{
			Version: 1, SubscriptionID: uuid.NewString(), UserID: uuid.NewString(), PlanCode: "free", Status: "trialing",
			EffectiveUntil: &end, TrialStart: &now, TrialEnd: &end, CreatedAt: now,
		},
	}
}

// publishing is m as bare code writes it: the very properties our publisher sets.
func publishing(m event.Message) amqp.Publishing {
	headers := amqp.Table{}
	for k, v := range m.Headers {
		headers[k] = v
	}
	return amqp.Publishing{
		MessageId: m.ID, ContentType: m.ContentType, DeliveryMode: amqp.Persistent, Timestamp: m.Timestamp,
		Type: m.RoutingKey, AppId: event.Service, Headers: headers, Body: m.Body,
	}
}

func publishingsOf(encoded []event.Message) []amqp.Publishing {
	out := make([]amqp.Publishing, len(encoded))
	for i, m := range encoded {
		out[i] = publishing(m)
	}
	return out
}

// publishBare is the bare loop: one goroutine that keeps window messages unconfirmed and waits for the oldest.
func publishBare(ch *amqp.Channel, publishings []amqp.Publishing, window int) error {
	confirms := make([]*amqp.DeferredConfirmation, len(publishings))
	for i, p := range publishings {
		if i >= window && !confirms[i-window].Wait() {
			return errNotConfirmed
		}
		var err error
		if confirms[i], err = ch.PublishWithDeferredConfirm(event.Exchange, p.Type, true, false, p); err != nil {
			return err
		}
	}
	for _, c := range confirms[max(0, len(confirms)-window):] {
		if !c.Wait() {
			return errNotConfirmed
		}
	}
	return nil
}
