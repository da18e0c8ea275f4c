package rabbitmq

import (
	"errors"
	"fmt"
	"regexp"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

// refusedObject is where the broker says what it refused. Only names that are known here are taken from it.
var refusedObject = regexp.MustCompile(`(?:(configure|write|read) )?access to (exchange|queue) '([^']*)'`)

// rightError names a permission that this service's user lacks.
type rightError struct {
	right, kind, name string
	cause             error
}

func (e rightError) Error() string {
	return fmt.Sprintf("the user may not %s %s %s", e.right, e.kind, e.name)
}
func (e rightError) Unwrap() error { return e.cause }

// lacking returns the permission behind err, and whether it is about one. right, kind and name are what was asked for. A
// declaration also needs rights on what it refers to; those the broker names.
func (t Topology) lacking(err error, right, kind, name string) (lack rightError, refused bool) {
	refusal, ok := errors.AsType[*amqp.Error](err)
	if !ok || refusal.Code != amqp.AccessRefused {
		return rightError{}, false
	}
	lack = rightError{right, kind, name, err}
	said := refusedObject.FindStringSubmatch(refusal.Reason)
	if said == nil || !t.names(said[2], said[3]) {
		return lack, true
	}
	switch {
	case said[1] != "":
		lack.right = said[1]
	case said[2] != kind: // a queue's dead-letter exchange is written to, an exchange that is bound is read from
		if lack.right = "read"; right == "configure" {
			lack.right = "write"
		}
	}
	lack.kind, lack.name = said[2], said[3]
	return lack, true
}

// names reports whether an exchange or queue of this name is one of t's.
func (t Topology) names(kind, name string) bool {
	if kind == "exchange" {
		return t.declares(name)
	}
	for _, q := range t.queues {
		if q.Name == name {
			return true
		}
	}
	return false
}

// declaration is a Topology on its way to the broker. A refusal closes the channel, so each is followed by a new one.
type declaration struct {
	Topology
	conn  *amqp.Connection
	ch    *amqp.Channel
	lacks []string
}

// ask asks the broker on the channel that is open, or on a new one.
func (d *declaration) ask(question func(*amqp.Channel) error) (err error) {
	if d.ch == nil {
		if d.ch, err = d.conn.Channel(); err != nil {
			return fmt.Errorf("rabbitmq: opening a channel: %w", err)
		}
	}
	if err = question(d.ch); err != nil {
		d.ch = nil
	}
	return err
}

// ensure declares one exchange or queue. What the user may not configure must be there already: it is then used as it is.
func (d *declaration) ensure(kind, name string, active, passive func(*amqp.Channel) error) error {
	err := d.ask(active)
	lack, refused := d.lacking(err, "configure", kind, name)
	if err == nil || !refused {
		return wrapDeclaring(kind, name, err)
	}
	d.lacks = append(d.lacks, lack.Error())
	if err := d.ask(passive); err != nil {
		if missing(err) {
			return fmt.Errorf("rabbitmq: %s %s does not exist, and %w", kind, name, lack)
		}
		return wrapDeclaring(kind, name, err)
	}
	return nil
}

func wrapDeclaring(kind, name string, err error) error {
	if err != nil {
		return fmt.Errorf("rabbitmq: declaring %s %s: %w", kind, name, err)
	}
	return nil
}

// exchange declares e.
func (d *declaration) exchange(e exchange) error {
	return d.ensure("exchange", e.Name,
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare(e.Name, e.Kind, true, false, false, false, nil)
		},
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(e.Name, e.Kind, true, false, false, false, nil)
		})
}

// queue declares q.
func (d *declaration) queue(q queue) error {
	return d.ensure("queue", q.Name,
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(q.Name, true, false, false, false, q.Args)
			return err
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(q.Name, true, false, false, false, q.Args)
			return err
		})
}

// bind binds b. Where that is not permitted it is unknown whether it is bound: AMQP has no way to ask.
func (d *declaration) bind(b binding) error {
	err := d.ask(func(ch *amqp.Channel) error { return ch.QueueBind(b.Queue, b.Key, b.Exchange, false, nil) })
	if lack, refused := d.lacking(err, "write", "queue", b.Queue); refused {
		d.lacks = append(d.lacks, fmt.Sprintf("%v; whether it is bound to %s with %s is unknown", lack, b.Exchange, b.Key))
		return nil
	}
	if err != nil {
		return fmt.Errorf("rabbitmq: binding %s to %s with %s: %w", b.Queue, b.Exchange, b.Key, err)
	}
	return nil
}

// end closes the channel that is left.
func (d *declaration) end() error {
	if d.ch == nil {
		return nil
	}
	return d.ch.Close()
}

// writeRefused is the result of a message that the broker closes the channel for because of a permission. The default
// exchange knows no permission per key, so there the message is not at fault.
func writeRefused(m event.Message) error {
	if m.Exchange == "" {
		return fmt.Errorf("%w: %w", event.ErrUnavailable, rightError{"write", "exchange", "amq.default", nil})
	}
	lack := rightError{"write", "exchange", m.Exchange, nil}
	return fmt.Errorf("%w: %w, or not with its routing key", event.ErrRejected, lack)
}
