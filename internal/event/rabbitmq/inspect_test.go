package rabbitmq

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
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

func TestWhereTheManagementAPIIs(t *testing.T) {
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
}

func TestWhyTheManagementAPISaysNothing(t *testing.T) {
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
}

func TestFiguresThatAreMissingAreNotZero(t *testing.T) {
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
}

// TestInspection runs on the server that RABBITMQ_URL names, when INTEGRATION is set. Every case has a virtual host of
// its own: the previous release's names are fixed.
func TestInspection(t *testing.T) {
	if os.Getenv("INTEGRATION") == "" {
		return
	}
	for name, test := range map[string]func(*testing.T){
		"nothing there, and nothing made":      inspectNothing,
		"everything there":                     inspectEverything,
		"without the management API":           inspectWithoutManagement,
		"an exchange that is something else":   inspectWrongExchange,
		"a vhost the API does not let us into": inspectForbidden,
		"removal":                              removal,
		"a broker that has just started":       inspectYoung,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

const (
	oldExchange = "smtp_send_email_exc"
	oldQueue    = "smtp_send_email"
)

func inspector(t *testing.T, broker string) *Inspector {
	t.Helper()
	return NewInspector(options(broker, "inspector"), eventtest.LongUp(t, os.Getenv("RABBITMQ_MANAGEMENT_URL")))
}

func inspect(t *testing.T, i *Inspector, queues ...string) Inspection {
	t.Helper()
	found, err := i.Inspect(context.Background(), oldExchange, queues)
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
			Fanout:   ExchangeState{Name: oldExchange, Writers: []Writer{}},
			Queues:   []QueueState{{Name: oldQueue}, {Name: "identity.email"}},
			Bindings: []Binding{},
			OfTopic:  []Binding{},
		}, inspect(t, inspector(t, broker), oldQueue, "identity.email"))
	}
}

func inspectEverything(t *testing.T) {
	broker := newVirtualHost(t)
	raw := channelAt(t, broker, "setup")
	require.NoError(t, FanoutTopology(oldExchange, oldQueue).Declare(raw))
	_, err := raw.QueueDeclare("audit", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, raw.QueueBind("audit", "", oldExchange, false, nil))
	require.NoError(t, raw.ExchangeDeclare(event.Exchange, amqp.ExchangeTopic, true, false, false, false, nil))
	require.NoError(t, raw.QueueBind("audit", "email.#", event.Exchange, false, nil))
	require.NoError(t, raw.ExchangeDeclare("theirs", amqp.ExchangeFanout, true, false, false, false, nil))
	require.NoError(t, raw.ExchangeBind(oldExchange, "", "theirs", false, nil))
	oldMailer, ours := channelAt(t, broker, "old mailer"), channelAt(t, broker, "identity-consumer")
	require.NoError(t, oldMailer.Qos(1, 0, false))
	held, err := oldMailer.Consume(oldQueue, "ctag-1", false, false, false, false, nil)
	require.NoError(t, err)
	for range 2 {
		publishRaw(t, raw, event.Message{Exchange: oldExchange})
	}
	publishRaw(t, channelAt(t, broker, "identity-api-publisher"), event.Message{Exchange: oldExchange})
	<-held
	require.NoError(t, ours.Qos(1, 0, false))
	_, err = ours.Consume(oldQueue, event.Service, false, false, false, false, nil)
	require.NoError(t, err)

	found := awaitInspection(t, inspector(t, broker), func(i Inspection) bool {
		old := i.Queue(oldQueue)
		return len(i.Unknown) == 0 && old.Ready == 1 && *old.Unacked == 2 && *old.Arrived == 3 && *i.Queue("audit").Arrived == 3
	}, oldQueue)
	require.Equal(t, ExchangeState{
		Name: oldExchange, Exists: true, Type: "fanout", Durable: new(true), Writers: found.Fanout.Writers,
	}, found.Fanout)
	require.NotNil(t, found.Fanout.Writers)
	require.Equal(t, []Binding{{Source: event.Exchange, Destination: "audit", Kind: "queue", Key: "email.#"}}, found.OfTopic)
	require.ElementsMatch(t, []Binding{
		{Source: oldExchange, Destination: oldQueue, Kind: "queue"},
		{Source: oldExchange, Destination: "audit", Kind: "queue"},
		{Source: "theirs", Destination: oldExchange, Kind: "exchange"},
	}, found.Bindings)
	require.Len(t, found.Queues, 2)
	require.Equal(t, QueueState{
		Name: "audit", Exists: true, Ready: 3, Unacked: new(0), Readers: []Reader{}, Arrived: new(3),
	}, found.Queue("audit"))
	old := found.Queue(oldQueue)
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
		q := i.Queue(oldQueue)
		return q.Consumers == 1 && q.Readers != nil && len(q.Foreign()) == 0
	}, oldQueue)
}

// Whose the channels are that have published: each connection once, those that have ended not at all.
func TestWriters(t *testing.T) {
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
}

func inspectWithoutManagement(t *testing.T) {
	broker := newVirtualHost(t)
	raw := channelAt(t, broker, "setup")
	require.NoError(t, FanoutTopology(oldExchange, oldQueue).Declare(raw))
	publishRaw(t, raw, event.Message{Exchange: oldExchange})
	u, err := url.Parse(broker)
	require.NoError(t, err)
	password, _ := u.User.Password()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	found := inspect(t, NewInspector(options(broker, "inspector"), "http://"+closed.Addr().String()), oldQueue)
	require.Equal(t, ExchangeState{Name: oldExchange, Exists: true}, found.Fanout)
	require.Nil(t, found.Bindings)
	require.Equal(t, []QueueState{{Name: oldQueue, Exists: true, Ready: 1, Readers: []Reader{}}}, found.Queues)
	require.Nil(t, found.OfTopic)
	require.Nil(t, found.Fanout.Writers)
	require.Len(t, found.Unknown, 4)
	for i, what := range []string{
		"what kind of exchange smtp_send_email_exc is: ", "who is bound to smtp_send_email_exc: ", "who is bound to smap.events: ",
		"how many messages are unacknowledged, or have just come, in smtp_send_email: ",
	} {
		require.Contains(t, found.Unknown[i], what+"the management API cannot be reached: dial tcp")
		require.NotContains(t, found.Unknown[i], password)
	}

	_, err = raw.Consume(oldQueue, "ctag-1", false, false, false, false, nil)
	require.NoError(t, err)
	found = inspect(t, NewInspector(options(broker, "inspector"), "http://"+closed.Addr().String()), oldQueue)
	require.Equal(t, 1, found.Queue(oldQueue).Consumers)
	require.Nil(t, found.Queue(oldQueue).Readers)
	require.Contains(t, found.Unknown[4], "whose the consumers are of smtp_send_email: the management API cannot be reached")
}

func inspectWrongExchange(t *testing.T) {
	broker := newVirtualHost(t)
	raw := channelAt(t, broker, "setup")
	require.NoError(t, raw.ExchangeDeclare(event.Exchange, amqp.ExchangeFanout, true, false, false, false, nil))
	require.NoError(t, raw.ExchangeDeclare(oldExchange, amqp.ExchangeDirect, false, false, false, false, nil))
	found := inspect(t, inspector(t, broker))
	require.Equal(t, ExchangeState{Name: event.Exchange, Exists: true, Type: "fanout", Durable: new(true)}, found.Topic)
	require.Equal(t, ExchangeState{Name: oldExchange, Exists: true, Type: "direct", Durable: new(false), Writers: []Writer{}}, found.Fanout)

	blind := inspect(t, NewInspector(options(broker, "inspector"), "http://127.0.0.1:1"))
	require.Equal(t, ExchangeState{Name: event.Exchange, Exists: true}, blind.Topic)
}

// inspectForbidden: a wrong password at the API only, which the broker's URL does not have.
func inspectForbidden(t *testing.T) {
	broker := newVirtualHost(t)
	require.NoError(t, FanoutTopology(oldExchange, oldQueue).Declare(channelAt(t, broker, "setup")))
	u, err := url.Parse(os.Getenv("RABBITMQ_MANAGEMENT_URL"))
	require.NoError(t, err)
	u.User = url.UserPassword(u.User.Username(), "hunter2")
	found := inspect(t, NewInspector(options(broker, "inspector"), u.String()), oldQueue)
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
	require.NoError(t, FanoutTopology(oldExchange, oldQueue).Declare(channelAt(t, broker, "setup")))
	for uptime, known := range map[string]bool{"299999": false, "300000": true} {
		answer := eventtest.Uptime(t, os.Getenv("RABBITMQ_MANAGEMENT_URL"), uptime)
		found := awaitInspection(t, NewInspector(options(broker, "inspector"), answer), func(i Inspection) bool {
			return i.Queue(oldQueue).Unacked != nil
		}, oldQueue)
		if known {
			require.Equal(t, new(0), found.Queue(oldQueue).Arrived)
			require.Empty(t, found.Unknown)
			continue
		}
		require.Nil(t, found.Queue(oldQueue).Arrived)
		require.Equal(t, []string{"how many messages have come in the last 5 minutes: " +
			"a node of the broker has been up, and counts, for only 5m0s"}, found.Unknown)
	}
}

func TestABrokerThatIsAwayCannotBeInspected(t *testing.T) {
	t.Parallel()
	_, err := NewInspector(options("amqp://u:hunter2@127.0.0.1:1/", "inspector"), "").Inspect(context.Background(), oldExchange, nil)
	require.ErrorContains(t, err, "connecting")
	require.NotContains(t, err.Error(), "hunter2")
}

func removal(t *testing.T) {
	broker := newVirtualHost(t)
	raw := channelAt(t, broker, "setup")
	remove := func() (removed []string, err error) {
		err = RemoveFanout(context.Background(), options(broker, "cleanup"), oldExchange, oldQueue, func(what string) {
			removed = append(removed, what)
		})
		return removed, err
	}
	removed, err := remove()
	require.NoError(t, err)
	require.Empty(t, removed, "nothing to do is no error")

	require.NoError(t, FanoutTopology(oldExchange, oldQueue).Declare(raw))
	publishRaw(t, raw, event.Message{Exchange: oldExchange})
	removed, err = remove()
	require.ErrorContains(t, err, "deleting queue smtp_send_email")
	require.Empty(t, removed)
	require.Equal(t, 1, ready(t, raw, oldQueue))

	_, err = raw.QueuePurge(oldQueue, false)
	require.NoError(t, err)
	_, err = raw.QueueDeclare("audit", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, raw.QueueBind("audit", "", oldExchange, false, nil))
	removed, err = remove()
	require.ErrorContains(t, err, "deleting exchange smtp_send_email_exc")
	require.Equal(t, []string{"queue smtp_send_email"}, removed)
	publishRaw(t, raw, event.Message{Exchange: oldExchange})
	require.Equal(t, 1, ready(t, raw, "audit"), "who is bound still gets everything")

	_, err = raw.QueueDelete("audit", false, false, false)
	require.NoError(t, err)
	removed, err = remove()
	require.NoError(t, err)
	require.Equal(t, []string{"exchange smtp_send_email_exc"}, removed)
	require.False(t, inspect(t, inspector(t, broker), oldQueue).Fanout.Exists)
	require.False(t, slices.ContainsFunc(inspect(t, inspector(t, broker), oldQueue).Queues, func(q QueueState) bool { return q.Exists }))
}
