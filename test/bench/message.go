package main

import (
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// messages returns n real events, encoded, and the same as bare code writes them: subscription.created of a trial,
// about 500 bytes on the wire.
func messages(n int) (ours []event.Message, bare []amqp.Publishing, err error) {
	for range n {
		m, err := event.Encode(subscriptionCreated())
		if err != nil {
			return nil, nil, err
		}
		m.Headers[event.HeaderTraceparent] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		ours = append(ours, m)
		bare = append(bare, publishing(m))
	}
	return ours, bare, nil
}

func subscriptionCreated() event.Event {
	now := time.Now().UTC().Truncate(time.Microsecond)
	end := now.AddDate(0, 0, 14)
	return event.Event{
		ID:   event.NewID(),
		Key:  event.SubscriptionCreated,
		Time: now,
		Data: event.SubscriptionCreatedData{
			Version: 1, SubscriptionID: uuid.NewString(), UserID: uuid.NewString(), PlanCode: "free", Status: "trialing",
			EffectiveUntil: &end, TrialStart: &now, TrialEnd: &end, CreatedAt: now,
		},
	}
}

func verificationRequested() event.Event {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return event.Event{
		ID:   event.NewID(),
		Key:  event.EmailVerificationRequested,
		Time: now,
		Data: event.VerificationRequested{
			UserID: uuid.NewString(), Recipient: "person@example.com", OTPCode: "123456", Locale: "en",
			ExpiresAt: now.Add(10 * time.Minute),
		},
	}
}

// publishing is m with the very properties our publisher sets.
func publishing(m event.Message) amqp.Publishing {
	headers := amqp.Table{}
	for k, v := range m.Headers {
		headers[k] = v
	}
	return amqp.Publishing{
		MessageId:    m.ID,
		ContentType:  m.ContentType,
		DeliveryMode: amqp.Persistent,
		Timestamp:    m.Timestamp,
		Type:         m.RoutingKey,
		AppId:        event.Service,
		Headers:      headers,
		Body:         m.Body,
	}
}
