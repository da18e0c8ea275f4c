package rabbitmq

import (
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// ToPublishing returns m as AMQP has it (docs/events.md). It never sets expiration: with a dead-letter exchange that
// would park live-looking codes in the dead queue.
func ToPublishing(m event.Message) amqp.Publishing {
	headers := make(amqp.Table, len(m.Headers))
	for k, v := range m.Headers {
		headers[k] = v
	}
	return amqp.Publishing{
		MessageId: m.ID, ContentType: m.ContentType, DeliveryMode: amqp.Persistent, Timestamp: m.Timestamp,
		Type: m.Arrived().RoutingKey, AppId: event.Service, Headers: headers, Body: m.Body,
	}
}

// ToMessage returns the message of a delivery. Only plain headers are kept, and none of the broker's own: copied along, x-death and
// its kin are ignored by newer brokers and trip cycle detection (celery#9867).
func ToMessage(d amqp.Delivery) event.Message {
	headers := make(map[string]string, len(d.Headers))
	for k, v := range d.Headers {
		if brokerHeader(k) {
			continue
		}
		switch v := v.(type) {
		case string:
			headers[k] = v
		case bool, int8, int16, int32, int64, uint8, uint16, uint32, float32, float64:
			headers[k] = fmt.Sprint(v)
		}
	}
	m := event.Message{
		ID: d.MessageId, Exchange: d.Exchange, RoutingKey: d.RoutingKey, ContentType: d.ContentType,
		Timestamp: d.Timestamp, Headers: headers, Body: d.Body,
	}
	if m.ID == "" { // a foreign producer may leave the property out; the envelope has it
		if e, _, err := event.Decode[struct{}](m); err == nil {
			m.ID = e.ID
		}
	}
	return m.Arrived()
}

func brokerHeader(name string) bool {
	return name == "x-delivery-count" || name == "x-death" ||
		strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-")
}

// handedOut reads how often a quorum queue has handed the delivery out before.
func handedOut(d amqp.Delivery) int {
	if n, ok := d.Headers["x-delivery-count"].(int64); ok {
		return int(n)
	}
	return 0
}
