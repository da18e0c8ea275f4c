package rabbitmq

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

func TestManagement(t *testing.T) {
	t.Parallel()
	t.Run("its address follows from the broker's, or is given", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct{ broker, management, endpoint, user, password, vhost string }{
			{"amqp://a:b@mq:5672/", "", "http://mq:15672", "a", "b", "/"},
			{"amqp://a:b@mq:5672/team", "", "http://mq:15672", "a", "b", "team"},
			{"amqps://a:b@mq/", "", "https://mq:15671", "a", "b", "/"},
			{"amqp://a:p%40ss%2F@[::1]:5672/%2Fteam", "", "http://[::1]:15672", "a", "p@ss/", "/team"},
			{"amqp://a:b@mq/", "https://c:p%40ss@admin.example/rabbit/", "https://admin.example/rabbit", "c", "p@ss", "/"},
			{"amqp://a:b@mq/", "http://admin.example:8080", "http://admin.example:8080", "a", "b", "/"},
		} {
			m, err := openManagement(c.broker, c.management)
			require.NoError(t, err)
			require.Equal(t, c.endpoint, m.client.Endpoint)
			require.Equal(t, c.user, m.client.Username)
			require.Equal(t, c.password, m.client.Password)
			require.Equal(t, c.vhost, m.vhost)
		}
		for _, bad := range [][2]string{
			{"http://u:hunter2@mq/", ""}, {"amqp://u:hunter2@m q/", ""}, {"amqp://u:b@mq/", "http://u:hunter2@m q/"},
		} {
			_, err := openManagement(bad[0], bad[1])
			require.ErrorContains(t, err, "cannot be read")
			require.NotContains(t, err.Error(), "hunter2")
		}
	})
	t.Run("of several nodes one is asked that responds", func(t *testing.T) {
		t.Parallel()
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, closed.Close())
		refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
		}))
		t.Cleanup(refusing.Close)
		gone, there := "http://u:hunter2@"+closed.Addr().String(), strings.Replace(refusing.URL, "//", "//u:hunter2@", 1)
		for range 10 {
			m, err := findManagement(t.Context(), "amqp://a:b@mq1/v,amqp://a:b@mq2/v", gone+","+there)
			require.NoError(t, err)
			require.Equal(t, refusing.URL, m.client.Endpoint)
			require.Equal(t, "v", m.vhost)
		}
		m, err := findManagement(t.Context(), "amqp://a:b@mq1/v", gone+","+gone)
		require.NoError(t, err)
		_, err = ask(t.Context(), func() ([]rabbithole.NodeInfo, error) { return m.client.ListNodes() })
		require.ErrorContains(t, err, "cannot be reached")
		m, err = findManagement(t.Context(), "amqp://a:b@127.0.0.1/v,amqp://a:b@127.0.0.1/v", "")
		require.NoError(t, err)
		require.Equal(t, "http://127.0.0.1:15672", m.client.Endpoint, "beside the broker")
	})
	t.Run("a failure is explained without quoting a URL", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/unauthorized/api/exchanges/":
				http.Error(w, `{"error":"not_authorised","reason":"Login failed"}`, http.StatusUnauthorized)
			case "/forbidden/api/exchanges/":
				http.Error(w, `{"error":"not_authorised","reason":"hunter2"}`, http.StatusForbidden)
			case "/page/api/exchanges/":
				_, _ = w.Write([]byte("<html>hunter2</html>"))
			case "/loop/api/exchanges/":
				http.Redirect(w, r, "http://u:hunter2@127.0.0.1:1/", http.StatusFound)
			default:
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}
		}))
		t.Cleanup(server.Close)
		t.Cleanup(func() { close(release) })
		secure := httptest.NewTLSServer(http.NotFoundHandler())
		t.Cleanup(secure.Close)
		secure.Config.ErrorLog = nil
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, closed.Close())
		for address, want := range map[string]string{
			server.URL + "/unauthorized":                   "refuses the credentials (401)",
			server.URL + "/forbidden":                      "answers 403 Forbidden",
			server.URL + "/page":                           "the answer of the management API cannot be read",
			server.URL + "/loop":                           "cannot be reached: dial tcp 127.0.0.1:1",
			server.URL + "/hangs":                          "does not answer within",
			"http://" + closed.Addr().String():             "cannot be reached: dial tcp " + closed.Addr().String(),
			secure.URL:                                     "cannot be reached: tls: failed to verify certificate",
			"unheard://" + secure.Listener.Addr().String(): "the management API cannot be reached",
		} {
			u, err := url.Parse(address)
			require.NoError(t, err)
			u.User = url.UserPassword("u", "hunter2")
			m, err := openManagement("amqp://u:hunter2@mq/", u.String())
			require.NoError(t, err)
			if strings.HasSuffix(address, "/hangs") {
				m.client.SetTimeout(50 * time.Millisecond)
			}
			m.vhost = "" // so that the question's path is short
			_, err = ask(context.Background(), func() ([]rabbithole.ExchangeInfo, error) { return m.client.ListExchangesIn(m.vhost) })
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "://")
		}
		ended, end := context.WithCancel(context.Background())
		end()
		_, err = ask(ended, func() (int, error) { panic("nobody waits for the answer") })
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("missing figures are not zero", func(t *testing.T) {
		t.Parallel()
		consumers := &[]rabbithole.ConsumerDetail{
			{ConsumerTag: event.Service, ChannelDetails: rabbithole.ChannelDetails{ConnectionName: "10.0.0.1:1"}},
			{ConsumerTag: "ctag-1", ChannelDetails: rabbithole.ChannelDetails{ConnectionName: "10.0.0.2:1"}},
		}
		fresh := QueueState{Name: "q", Exists: true, Consumers: 2}
		q := fresh
		describeQueue(&q, &rabbithole.DetailedQueueInfo{}, nil)
		require.Equal(t, fresh, q, "no statistics")

		describeQueue(&q, &rabbithole.DetailedQueueInfo{
			MessagesUnacknowledged: 3, MessagesUnacknowledgedDetails: &rabbithole.RateDetails{}, ConsumerDetails: consumers,
			MessageStats: &rabbithole.MessageStats{Publish: 9, PublishDetails: rabbithole.RateDetails{
				Samples: []rabbithole.RateDetailSample{{Sample: 9}, {Sample: 8}, {Sample: 4}},
			}},
		}, map[string]string{"10.0.0.2:1": "old mailer"})
		require.Equal(t, QueueState{
			Name: "q", Exists: true, Consumers: 2, Unacked: new(3), Arrived: new(5), Readers: []Reader{
				{Tag: event.Service, Ours: true, Connection: "10.0.0.1:1"},
				{Tag: "ctag-1", Client: "old mailer", Connection: "10.0.0.2:1"},
			},
		}, q)
		require.Equal(t, 1, q.Ours())
		require.Equal(t, "old mailer at 10.0.0.2:1", q.Foreign()[0].Name())

		other := QueueState{Exists: true, Consumers: 1}
		describeQueue(&other, &rabbithole.DetailedQueueInfo{ConsumerDetails: consumers}, nil)
		require.Nil(t, other.Readers, "a list that is not of this moment")

		require.Equal(t, new(0), arrivals(nil))
		require.Nil(t, arrivals(&rabbithole.MessageStats{Publish: 3}), "a count, and nothing to compare it with")
	})
	// Whose the channels are that have published: each connection once, those that have ended not at all.
	t.Run("writers are connections, each once", func(t *testing.T) {
		t.Parallel()
		channels := make([]rabbithole.ExchangeIngressDetails, 4)
		for i, connection := range []string{"10.0.0.1:1", "10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"} {
			channels[i].ChannelDetails.ConnectionName = connection
		}
		m := &management{clients: map[string]string{"10.0.0.1:1": "identity-api-publisher", "10.0.0.2:2": "old api"}}
		require.Equal(t, []Writer{
			{Ours: true, Client: "identity-api-publisher", Connection: "10.0.0.1:1"}, {Client: "old api", Connection: "10.0.0.2:2"},
		}, m.writers(channels))
		require.Equal(t, []Writer{}, m.writers(nil))
		require.Nil(t, (&management{}).writers(channels), "who is connected is not known")
	})
}

// Every case has a virtual host of its own.
func TestInspector(t *testing.T) {
	t.Parallel()
	onServer(t, map[string]func(*testing.T){
		"nothing there, and nothing made":      inspectNothing,
		"everything there":                     inspectEverything,
		"without the management API":           inspectWithoutManagement,
		"an exchange that is something else":   inspectWrongExchange,
		"a vhost the API does not let us into": inspectForbidden,
		"a broker that has just started":       inspectYoung,
	})
	t.Run("an unavailable broker is an error that quotes no URL", func(t *testing.T) {
		t.Parallel()
		_, err := NewInspector(options("amqp://u:hunter2@127.0.0.1:1/", "inspector"), "").Inspect(context.Background(), theExchange, nil)
		require.ErrorContains(t, err, "connecting")
		require.NotContains(t, err.Error(), "hunter2")
	})
}

// The exchange that is inspected, and the queue bound to it.
const (
	theExchange = "inspected.exc"
	theQueue    = "inspected"
)

func declareInspected(t *testing.T, ch *amqp.Channel) {
	t.Helper()
	require.NoError(t, ch.ExchangeDeclare(theExchange, amqp.ExchangeDirect, true, false, false, false, nil))
	_, err := ch.QueueDeclare(theQueue, true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind(theQueue, "", theExchange, false, nil))
}

func inspector(t *testing.T, broker string) *Inspector {
	t.Helper()
	return NewInspector(options(broker, "inspector"), eventtest.LongUp(t, os.Getenv("RABBITMQ_MANAGEMENT_URL")))
}

func inspect(t *testing.T, i *Inspector, queues ...string) Inspection {
	t.Helper()
	found, err := i.Inspect(context.Background(), theExchange, queues)
	require.NoError(t, err)
	return found
}

// awaitInspection asks until the answer is so: the management API is late.
func awaitInspection(t *testing.T, i *Inspector, so func(Inspection) bool, queues ...string) (found Inspection) {
	t.Helper()
	require.Eventually(t, func() bool {
		found = inspect(t, i, queues...)
		return so(found)
	}, 30*time.Second, 200*time.Millisecond)
	return found
}

// channelAt is a channel to one virtual host, on a connection with a name.
func channelAt(t *testing.T, broker, name string) *amqp.Channel {
	t.Helper()
	conn, err := rabbitmq.Dial(context.Background(), rabbitmq.Options{URL: broker, Name: name})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

func inspectNothing(t *testing.T) {
	broker := newVirtualHost(t)
	for range 2 {
		require.Equal(t, Inspection{
			Topic:    ExchangeState{Name: event.Exchange, Exists: true, Type: "topic", Durable: new(true)},
			Exchange: ExchangeState{Name: theExchange, Writers: []Writer{}},
			Queues:   []QueueState{{Name: theQueue}, {Name: "identity.email"}},
			Bindings: []Binding{},
			OfTopic:  []Binding{},
		}, inspect(t, inspector(t, broker), theQueue, "identity.email"))
	}
}

func inspectEverything(t *testing.T) {
	broker := newVirtualHost(t)
	raw := channelAt(t, broker, "setup")
	declareInspected(t, raw)
	_, err := raw.QueueDeclare("audit", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, raw.QueueBind("audit", "", theExchange, false, nil))
	require.NoError(t, raw.ExchangeDeclare(event.Exchange, amqp.ExchangeTopic, true, false, false, false, nil))
	require.NoError(t, raw.QueueBind("audit", "email.#", event.Exchange, false, nil))
	require.NoError(t, raw.ExchangeDeclare("theirs", amqp.ExchangeDirect, true, false, false, false, nil))
	require.NoError(t, raw.ExchangeBind(theExchange, "", "theirs", false, nil))
	oldMailer, ours := channelAt(t, broker, "old mailer"), channelAt(t, broker, "identity-consumer")
	require.NoError(t, oldMailer.Qos(1, 0, false))
	held, err := oldMailer.Consume(theQueue, "ctag-1", false, false, false, false, nil)
	require.NoError(t, err)
	for range 2 {
		publishRaw(t, raw, event.Message{Exchange: theExchange})
	}
	publishRaw(t, channelAt(t, broker, "identity-api-publisher"), event.Message{Exchange: theExchange})
	<-held
	require.NoError(t, ours.Qos(1, 0, false))
	_, err = ours.Consume(theQueue, event.Service, false, false, false, false, nil)
	require.NoError(t, err)

	found := awaitInspection(t, inspector(t, broker), func(i Inspection) bool {
		old := i.Queue(theQueue)
		return len(i.Unknown) == 0 && old.Ready == 1 && *old.Unacked == 2 && *old.Arrived == 3 && *i.Queue("audit").Arrived == 3
	}, theQueue)
	require.Equal(t, ExchangeState{
		Name: theExchange, Exists: true, Type: "direct", Durable: new(true), Writers: found.Exchange.Writers,
	}, found.Exchange)
	require.NotNil(t, found.Exchange.Writers)
	require.Equal(t, []Binding{{Source: event.Exchange, Destination: "audit", Kind: "queue", Key: "email.#"}}, found.OfTopic)
	require.ElementsMatch(t, []Binding{
		{Source: theExchange, Destination: theQueue, Kind: "queue"},
		{Source: theExchange, Destination: "audit", Kind: "queue"},
		{Source: "theirs", Destination: theExchange, Kind: "exchange"},
	}, found.Bindings)
	require.Len(t, found.Queues, 2)
	require.Equal(t, QueueState{
		Name: "audit", Exists: true, Ready: 3, Unacked: new(0), Readers: []Reader{}, Arrived: new(3),
	}, found.Queue("audit"))
	old := found.Queue(theQueue)
	require.Equal(t, 2, old.Consumers)
	require.Equal(t, 1, old.Ours())
	foreign := old.Foreign()
	require.Len(t, foreign, 1)
	require.Equal(t, "ctag-1", foreign[0].Tag)
	require.Equal(t, "old mailer", foreign[0].Client)
	require.NotEmpty(t, foreign[0].Connection)
	require.Equal(t, QueueState{Name: "never asked for"}, found.Queue("never asked for"))

	require.NoError(t, oldMailer.Close())
	awaitInspection(t, inspector(t, broker), func(i Inspection) bool {
		q := i.Queue(theQueue)
		return q.Consumers == 1 && q.Readers != nil && len(q.Foreign()) == 0
	}, theQueue)
}

func inspectWithoutManagement(t *testing.T) {
	broker := newVirtualHost(t)
	raw := channelAt(t, broker, "setup")
	declareInspected(t, raw)
	publishRaw(t, raw, event.Message{Exchange: theExchange})
	u, err := url.Parse(broker)
	require.NoError(t, err)
	password, _ := u.User.Password()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	found := inspect(t, NewInspector(options(broker, "inspector"), "http://"+closed.Addr().String()), theQueue)
	require.Equal(t, ExchangeState{Name: theExchange, Exists: true}, found.Exchange)
	require.Nil(t, found.Bindings)
	require.Equal(t, []QueueState{{Name: theQueue, Exists: true, Ready: 1, Readers: []Reader{}}}, found.Queues)
	require.Nil(t, found.OfTopic)
	require.Nil(t, found.Exchange.Writers)
	require.Len(t, found.Unknown, 4)
	for i, what := range []string{
		"what kind of exchange inspected.exc is: ", "who is bound to inspected.exc: ", "who is bound to smap.events: ",
		"how many messages are unacknowledged, or have just come, in inspected: ",
	} {
		require.Contains(t, found.Unknown[i], what+"the management API cannot be reached: dial tcp")
		require.NotContains(t, found.Unknown[i], password)
	}

	_, err = raw.Consume(theQueue, "ctag-1", false, false, false, false, nil)
	require.NoError(t, err)
	found = inspect(t, NewInspector(options(broker, "inspector"), "http://"+closed.Addr().String()), theQueue)
	require.Equal(t, 1, found.Queue(theQueue).Consumers)
	require.Nil(t, found.Queue(theQueue).Readers)
	require.Contains(t, found.Unknown[4], "whose the consumers are of inspected: the management API cannot be reached")
}

func inspectWrongExchange(t *testing.T) {
	broker := newVirtualHost(t)
	raw := channelAt(t, broker, "setup")
	require.NoError(t, raw.ExchangeDeclare(event.Exchange, amqp.ExchangeDirect, true, false, false, false, nil))
	require.NoError(t, raw.ExchangeDeclare(theExchange, amqp.ExchangeTopic, false, false, false, false, nil))
	found := inspect(t, inspector(t, broker))
	require.Equal(t, ExchangeState{Name: event.Exchange, Exists: true, Type: "direct", Durable: new(true)}, found.Topic)
	require.Equal(t, ExchangeState{Name: theExchange, Exists: true, Type: "topic", Durable: new(false), Writers: []Writer{}}, found.Exchange)

	blind := inspect(t, NewInspector(options(broker, "inspector"), "http://127.0.0.1:1"))
	require.Equal(t, ExchangeState{Name: event.Exchange, Exists: true}, blind.Topic)
}

// inspectForbidden: a wrong password at the API only, which the broker's URL does not have.
func inspectForbidden(t *testing.T) {
	broker := newVirtualHost(t)
	declareInspected(t, channelAt(t, broker, "setup"))
	u, err := url.Parse(os.Getenv("RABBITMQ_MANAGEMENT_URL"))
	require.NoError(t, err)
	u.User = url.UserPassword(u.User.Username(), "hunter2")
	found := inspect(t, NewInspector(options(broker, "inspector"), u.String()), theQueue)
	require.Nil(t, found.Bindings)
	require.NotEmpty(t, found.Unknown)
	for _, text := range found.Unknown {
		require.Contains(t, text, "the management API refuses the credentials (401)")
		require.NotContains(t, text, "hunter2")
	}
}

// inspectYoung: a count that begins with the broker's start says nothing of the time before.
func inspectYoung(t *testing.T) {
	broker := newVirtualHost(t)
	declareInspected(t, channelAt(t, broker, "setup"))
	for uptime, known := range map[string]bool{"299999": false, "300000": true} {
		answer := eventtest.Uptime(t, os.Getenv("RABBITMQ_MANAGEMENT_URL"), uptime)
		found := awaitInspection(t, NewInspector(options(broker, "inspector"), answer), func(i Inspection) bool {
			return i.Queue(theQueue).Unacked != nil
		}, theQueue)
		if known {
			require.Equal(t, new(0), found.Queue(theQueue).Arrived)
			require.Empty(t, found.Unknown)
			continue
		}
		require.Nil(t, found.Queue(theQueue).Arrived)
		require.Equal(t, []string{"how many messages have come in the last 5 minutes: " +
			"a node of the broker has been up, and counts, for only 5m0s"}, found.Unknown)
	}
}
