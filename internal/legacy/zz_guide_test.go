package legacy

import (
	"os"
	"testing"
	"time"

	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/heartbeat"
)

func TestGuide(t *testing.T) {
	at := time.Date(2026, 11, 24, 4, 21, 29, 0, time.UTC)
	q := func(n string, c int) eventmq.QueueState { return known(n, c) }
	old := q(Queue, 1)
	old.Consumers, old.Arrived = 2, new(6)
	old.Readers = append(old.Readers, eventmq.Reader{Tag: "ctag-oldconsumer-1", Connection: "10.0.4.17:60210 -> 10.0.2.5:5672"})
	email := q("identity.email", 1)
	email.Arrived = new(3)
	p := func(id, role, phase string, ago time.Duration, stopped bool) heartbeat.Process {
		x := heartbeat.Process{ID: id, Role: role, Version: "v1.4.0", Note: phase, SeenAt: at.Add(-ago)}
		if stopped {
			x.StoppedAt = new(x.SeenAt)
		}
		return x
	}
	f := Facts{
		At:     at,
		Topic:  eventmq.ExchangeState{Name: event.Exchange, Exists: true, Type: "topic", Durable: new(true)},
		Fanout: eventmq.ExchangeState{Name: Exchange, Exists: true, Type: "fanout", Durable: new(true)},
		Old:    old, Email: Ladder{Main: email, Dead: q("identity.email.dead", 0)},
		Legacy: Ladder{Main: q("identity.legacy", 1), Dead: q("identity.legacy.dead", 0)},
		Others: []eventmq.QueueState{q("identity.subscription", 1), q("identity.subscription.dead", 0), q("identity.project", 1), q("identity.project.dead", 0), q("crm.mails", 0)},
		Bindings: []eventmq.Binding{
			{Source: Exchange, Destination: "crm.mails", Kind: "queue"}, {Source: Exchange, Destination: Queue, Kind: "queue"},
		},
		OfTopic: []eventmq.Binding{
			{Source: event.Exchange, Destination: "identity.email", Kind: "queue", Key: "email.#"},
			{Source: event.Exchange, Destination: "identity.project", Kind: "queue", Key: "project.created"},
			{Source: event.Exchange, Destination: "identity.subscription", Kind: "queue", Key: "subscription.#"},
		},
		Processes: []heartbeat.Process{
			p("01a20bc8-d313-700a-b680-b8f9c1d4e476", "api", "prepare", 17*time.Second, true),
			p("01a20bc9-57fd-7d18-93d7-b7dfb1e460a1", "api", "dual", 5*time.Second, false),
			p("01a20bc9-3c3f-7922-9b11-1ae942d65e64", "consumer", "dual", 2*time.Second, false),
		},
		Shadows: Shadows{Since: at.Add(-24 * time.Hour), Matched: 3},
	}
	err := printStatus(os.Stdout, false, f, f.Next())
	t.Log(err)
}
