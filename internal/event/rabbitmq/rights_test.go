package rabbitmq

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

func TestLacking(t *testing.T) {
	t.Parallel()
	topology := NewTopology([]event.Queue{{Name: "identity.email"}})
	for said, want := range map[string]string{
		"ACCESS_REFUSED - access to exchange 'smap.events' in vhost '/' refused for user 'identity'":            "the user may not configure exchange smap.events",
		"ACCESS_REFUSED - configure access to exchange 'smap.events' in vhost '/' refused for user 'u'":         "the user may not configure exchange smap.events",
		"ACCESS_REFUSED - write access to exchange 'identity.dlx' in vhost '/' refused for user 'u'":            "the user may not write exchange identity.dlx",
		"ACCESS_REFUSED - access to exchange 'identity.dlx' in vhost 'amqp://u:hunter2@b' refused for user 'u'": "the user may not configure exchange identity.dlx",
		"ACCESS_REFUSED - access to queue 'identity.email' in vhost '/' refused for user 'u'":                   "the user may not read queue identity.email",
		"ACCESS_REFUSED - access to exchange 'hunter2' in vhost '/' refused":                                    "the user may not configure exchange smap.events",
		"hunter2": "the user may not configure exchange smap.events",
	} {
		err := &amqp.Error{Code: amqp.AccessRefused, Server: true, Reason: said}
		lack, refused := topology.lacking(err, "configure", "exchange", event.Exchange)
		require.True(t, refused)
		if want == "the user may not read queue identity.email" {
			lack, _ = topology.lacking(err, "read", "queue", "identity.email")
		}
		require.EqualError(t, lack, want)
		require.ErrorIs(t, lack, err)
	}
	_, refused := topology.lacking(&amqp.Error{Code: amqp.NotFound}, "configure", "exchange", event.Exchange)
	require.False(t, refused)
	_, refused = topology.lacking(nil, "configure", "exchange", event.Exchange)
	require.False(t, refused)
}

func TestRights(t *testing.T) {
	t.Parallel()
	onServer(t, map[string]func(*testing.T){
		"what may not be configured is used as it is":        notConfigured,
		"what may not be configured and is missing is named": notConfiguredMissing,
		"a queue that may not be read is named":              notRead,
		"an exchange that may not be written is named":       notWritten,
	})
}

// permit sets what the test's user may do in the virtual host of address.
func permit(t *testing.T, address, configure, write, read string) {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	manage(t, http.MethodPut, "/api/permissions"+u.Path+"/"+u.User.Username(),
		`{"configure":"`+configure+`","write":"`+write+`","read":"`+read+`"}`)
}

func emailQueue() event.Queue {
	return event.Queue{
		Name: "identity.email", Bindings: []string{"#"}, Workers: 1, Prefetch: 1,
		Retry: event.Policy{Levels: []time.Duration{time.Hour}, GiveUpAfter: time.Hour},
	}
}

func notConfigured(t *testing.T) {
	address, q := newVirtualHost(t), emailQueue()
	_, err := NewTopology([]event.Queue{q}).Declare(rawConnection(t, address))
	require.NoError(t, err)
	connected := startPublisher(t, address, q)
	eventtest.SendAll(t, connected, messageTo(q, "connected"))
	permit(t, address, "^$", ".*", ".*")

	for name, p := range map[string]*Publisher{"connected": connected, "started now": startPublisher(t, address, q)} {
		require.Equal(t, []error{nil}, eventtest.SendAll(t, p, messageTo(q, name)))
		var health ExchangeHealth
		require.Eventually(t, func() bool { // permissions are cached per connection for a moment
			health, err = check(p, 5*time.Second)
			return err == nil && len(health.Lacks) > 0
		}, 15*time.Second, 50*time.Millisecond)
		require.Contains(t, health.Lacks, "the user may not configure exchange smap.events")
	}
	r := startConsumer(t, address, connected, time.Second, q, func(context.Context, event.Delivery) error { return nil })
	eventtest.Next(t, r.Seen)
	permit(t, address, ".*", ".*", ".*")
	require.Eventually(t, func() bool {
		health, err := check(connected, 5*time.Second)
		return err == nil && len(health.Lacks) == 0
	}, 15*time.Second, 50*time.Millisecond)
}

func notConfiguredMissing(t *testing.T) {
	address, q := newVirtualHost(t), emailQueue()
	permit(t, address, "^$", ".*", ".*")
	p := startPublisher(t, address, q)
	require.Eventually(t, func() bool {
		_, err := check(p, 5*time.Second)
		return err != nil && p.refusal.Load() != nil
	}, 15*time.Second, 50*time.Millisecond)
	_, err := check(p, 5*time.Second)
	require.ErrorContains(t, err, "exchange smap.events does not exist, and the user may not configure exchange smap.events")
	require.NotContains(t, err.Error(), "ACCESS_REFUSED")
}

func notRead(t *testing.T) {
	address, q := newVirtualHost(t), emailQueue()
	p := startPublisher(t, address, q)
	eventtest.SendAll(t, p, messageTo(q, "declared"))
	permit(t, address, ".*", ".*", "^smap.*")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := NewConsumer(ConsumerOptions{
		Connection: options(address, t.Name()), Sender: p, Now: time.Now, StaleAck: func(string) {},
	}, []event.Consumer{{Queue: q, Observer: eventtest.NewObserver()}})
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	require.Eventually(t, func() bool {
		err := c.Err()
		return err != nil && err.Error() == "identity.email: the user may not read queue identity.email"
	}, 15*time.Second, 50*time.Millisecond)
	require.False(t, c.Consuming())
	cancel()
	require.NoError(t, eventtest.Next(t, ended))
}

func notWritten(t *testing.T) {
	address, q := newVirtualHost(t), emailQueue()
	eventtest.SendAll(t, startPublisher(t, address, q), messageTo(q, "declared"))
	permit(t, address, ".*", "^(identity|amq).*", ".*")
	p := startPublisher(t, address, q) // the broker remembers for a channel what it has permitted
	require.Eventually(t, func() bool {
		_ = p.Send(context.Background(), []event.Message{messageTo(q, "refused")})
		_, err := check(p, 5*time.Second)
		return err != nil && err.Error() == "the user may not write exchange smap.events"
	}, 15*time.Second, 50*time.Millisecond)
	permit(t, address, ".*", ".*", ".*")
	require.Eventually(t, func() bool {
		_ = p.Send(context.Background(), []event.Message{messageTo(q, "taken")})
		_, err := check(p, 5*time.Second)
		return err == nil
	}, 15*time.Second, 50*time.Millisecond)
}
