package rabbitmq

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

const (
	// maxOwnHeader is how long, in bytes, a header of ours may be on arrival. We write none that is longer.
	maxOwnHeader = 255
	// maxForeignHeaders is how many bytes of other headers, names included, are kept. With what is added on its way, a
	// message then still fits into the smallest frame.
	maxForeignHeaders = 1024
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

// ToDelivery returns d as handlers get it. One that no handler may see is unfit.
func ToDelivery(d amqp.Delivery) event.Delivery {
	arrived := event.Delivery{Message: ToMessage(d), HandedOut: handedOut(d)}
	if reason := rabbitmq.Unreadable(d); reason != "" {
		arrived.Unfit = unfit("headers_unreadable", errors.New("its headers cannot be read: "+reason))
	} else if err := event.CheckID(cameAs(d)); err != nil {
		class := "id_not_text"
		if errors.Is(err, event.ErrIDTooLong) {
			class = "id_too_long"
		}
		arrived.Unfit = unfit(class, fmt.Errorf("its id %w", err))
	}
	return arrived
}

type classedError struct {
	error
	class string
}

func (e classedError) ErrorClass() string { return e.class }

func unfit(class string, err error) error {
	return event.Permanent(event.ReasonInvalid, classedError{err, class})
}

// ToMessage returns the message of a delivery, in a form that can be published again. Only plain headers are kept, and
// none of the broker's own: copied along, x-death and its kin are ignored by newer brokers and trip cycle detection
// (celery#9867). An id that cannot be used is left out; its length and digest are noted.
func ToMessage(d amqp.Delivery) event.Message {
	m := event.Message{
		ID: cameAs(d), Exchange: d.Exchange, RoutingKey: d.RoutingKey, ContentType: d.ContentType,
		Timestamp: d.Timestamp, Headers: keptHeaders(d.Headers), Body: d.Body,
	}
	if event.CheckID(m.ID) != nil {
		m.Headers[event.HeaderForeignID] = fmt.Sprintf("%d bytes, sha256 %.8x", len(m.ID), sha256.Sum256([]byte(m.ID)))
		m.ID = ""
	}
	return m.Arrived()
}

// cameAs returns the id a delivery came with. A foreign producer may leave the property out; the envelope has it.
func cameAs(d amqp.Delivery) string {
	if d.MessageId != "" {
		return d.MessageId
	}
	return event.BodyID(d.Body)
}

// keptHeaders returns the plain headers of table: ours, and as many of the others as have room.
func keptHeaders(table amqp.Table) map[string]string {
	kept := make(map[string]string, len(table))
	var foreign []string
	for name, value := range table {
		text, plain := asText(value)
		switch {
		case !plain, brokerHeader(name), name == rabbitmq.HeaderUnreadable:
		case !event.OwnHeader(name):
			foreign = append(foreign, name)
		case len(text) <= maxOwnHeader && event.CheckID(text) == nil:
			kept[name] = text
		}
	}
	slices.SortFunc(foreign, func(a, b string) int { return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) })
	room := maxForeignHeaders
	for _, name := range foreign {
		text, _ := asText(table[name])
		if size := len(name) + len(text); size <= room {
			room -= size
			kept[name] = text
		}
	}
	return kept
}

func asText(value any) (text string, plain bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool, int8, int16, int32, int64, uint8, uint16, uint32, float32, float64:
		return fmt.Sprint(v), true
	default:
		return "", false
	}
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
