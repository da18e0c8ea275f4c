package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/smap-platform/identity/internal/event"
)

const (
	managementTimeout = 5 * time.Second // per question
	arrivalWindow     = 5 * time.Minute // what QueueState.Arrived counts; the API keeps ten
	arrivalStep       = 10 * time.Second
)

// management is the broker's HTTP API, as far as it is asked here. It never changes anything.
type management struct {
	client *rabbithole.Client
	vhost  string
	// What look has found.
	clients   map[string]string // what each connection calls itself, by the broker's name for it; nil when unknown
	whyNot    error             // why clients is unknown
	up        time.Duration     // since when the youngest node of the cluster counts
	whyNoTime error             // why up is unknown
}

// findManagement returns the API of a node that responds. Of several it asks them in random order. When none responds it
// returns one, whose questions say why.
func findManagement(ctx context.Context, brokerURL, managementURL string) (m *management, err error) {
	brokers := strings.Split(brokerURL, ",")
	places := strings.Split(managementURL, ",") // "" is one place: beside the broker
	nodes := len(places)
	if managementURL == "" {
		nodes = len(brokers)
	}
	for tried, i := range rand.Perm(nodes) {
		if managementURL == "" {
			m, err = openManagement(brokers[i], "")
		} else {
			m, err = openManagement(brokers[0], places[i])
		}
		if err != nil || tried == nodes-1 || m.responds(ctx) {
			break
		}
	}
	return m, err
}

// responds reports whether the API is there, whatever it says.
func (m *management) responds(ctx context.Context) bool {
	_, err := ask(ctx, func() (*rabbithole.WhoamiInfo, error) { return m.client.Whoami() })
	_, refused := errors.AsType[answered](err)
	return err == nil || refused
}

// openManagement finds the API's address; it asks nothing yet. Both URLs are of one node.
func openManagement(brokerURL, managementURL string) (*management, error) {
	broker, err := amqp.ParseURI(brokerURL)
	if err != nil {
		return nil, errors.New("the broker's URL cannot be read") // what the parser says quotes it
	}
	endpoint := &url.URL{Scheme: "http", Host: net.JoinHostPort(broker.Host, "15672")}
	if broker.Scheme == "amqps" {
		endpoint = &url.URL{Scheme: "https", Host: net.JoinHostPort(broker.Host, "15671")}
	}
	user, password := broker.Username, broker.Password
	if managementURL != "" {
		if endpoint, err = url.Parse(managementURL); err != nil {
			return nil, errors.New("the management API's URL cannot be read")
		}
		if endpoint.User != nil {
			user = endpoint.User.Username()
			password, _ = endpoint.User.Password()
			endpoint.User = nil // sent as a header, so that no error can quote it
		}
	}
	client, err := rabbithole.NewClient(strings.TrimRight(endpoint.String(), "/"), user, password)
	if err != nil {
		return nil, errors.New("the management API's URL cannot be read")
	}
	client.SetTimeout(managementTimeout)
	return &management{client: client, vhost: broker.Vhost}, nil
}

// look asks for connections and nodes, which explain the other responses. They are shown to the tag monitoring only;
// without it the rest can still be asked.
func (m *management) look(ctx context.Context) error {
	connections, err := ask(ctx, func() ([]rabbithole.ConnectionInfo, error) { return m.client.ListVhostConnections(m.vhost) })
	if err != nil {
		m.whyNot = err
	} else {
		m.clients = make(map[string]string, len(connections))
		for _, c := range connections {
			m.clients[c.Name], _ = c.ClientProperties["connection_name"].(string)
		}
	}
	nodes, err := ask(ctx, func() ([]rabbithole.NodeInfo, error) { return m.client.ListNodes() })
	if err != nil {
		m.whyNoTime = err
		return ctx.Err()
	}
	m.up = arrivalWindow
	for _, n := range nodes {
		if n.IsRunning {
			m.up = min(m.up, time.Duration(n.Uptime)*time.Millisecond) //nolint:gosec // G115: milliseconds fit
		}
	}
	return nil
}

// gaps returns what look could not find out.
func (m *management) gaps() (gaps []string) {
	if m.whyNot != nil {
		gaps = append(gaps, fmt.Sprintf("who publishes, and what readers call themselves: %v", m.whyNot))
	}
	arrived := fmt.Sprintf("how many messages have come in the last %d minutes", int(arrivalWindow.Minutes()))
	switch {
	case m.whyNoTime != nil:
		gaps = append(gaps, fmt.Sprintf("%s, because not how long the broker has counted: %v", arrived, m.whyNoTime))
	case m.up < arrivalWindow:
		gaps = append(gaps, fmt.Sprintf("%s: a node of the broker has been up, and counts, for only %s", arrived, m.up.Round(time.Second)))
	}
	return gaps
}

// exchanges adds what AMQP does not show of both exchanges: their type, who publishes to found.Exchange, and the bindings.
func (m *management) exchanges(ctx context.Context, found *Inspection) error {
	for _, e := range []*ExchangeState{&found.Topic, &found.Exchange} {
		if !e.Exists || e.Type != "" {
			continue
		}
		info, err := ask(ctx, func() (*rabbithole.DetailedExchangeInfo, error) { return m.client.GetExchange(m.vhost, e.Name) })
		if err != nil {
			return err
		}
		e.Type, e.Durable = info.Type, &info.Durable
		if e == &found.Exchange {
			e.Writers = m.writers(info.Incoming)
		}
	}
	var err error
	if found.OfTopic, err = m.bindings(ctx, found.Topic.Name, rabbithole.BindingSource); err != nil || !found.Exchange.Exists {
		return err
	}
	found.Bindings, err = m.bindings(ctx, found.Exchange.Name, rabbithole.BindingSource, rabbithole.BindingDestination)
	return err
}

// bindings returns the bindings that have exchange as one of ends; nil after an error.
func (m *management) bindings(ctx context.Context, exchange string, ends ...rabbithole.BindingVertex) ([]Binding, error) {
	bindings := []Binding{}
	for _, end := range ends {
		some, err := ask(ctx, func() ([]rabbithole.BindingInfo, error) {
			return m.client.ListExchangeBindings(m.vhost, exchange, end)
		})
		if err != nil {
			return nil, err
		}
		for _, b := range some {
			bindings = append(bindings, Binding{
				Source: b.Source, Destination: b.Destination, Kind: b.DestinationType, Key: b.RoutingKey,
			})
		}
	}
	return bindings, nil
}

// writers returns the connections that have published, each once; nil when unknown. The API names channels only where
// management.rates_mode is detailed. A connection of ours says so in its name. One that has ended since the API has
// counted is no longer listed, and left out.
func (m *management) writers(channels []rabbithole.ExchangeIngressDetails) []Writer {
	if m.clients == nil {
		return nil
	}
	writers := []Writer{}
	for _, c := range channels {
		name := c.ChannelDetails.ConnectionName
		client, there := m.clients[name]
		if there && !slices.ContainsFunc(writers, func(w Writer) bool { return w.Connection == name }) {
			writers = append(writers, Writer{Ours: strings.HasPrefix(client, event.Service+"-"), Client: client, Connection: name})
		}
	}
	return writers
}

// queues adds what AMQP does not show of each queue.
func (m *management) queues(ctx context.Context, queues []QueueState) error {
	samples := url.Values{
		"msg_rates_age":  {strconv.Itoa(int(arrivalWindow.Seconds()))},
		"msg_rates_incr": {strconv.Itoa(int(arrivalStep.Seconds()))},
	}
	for i := range queues {
		if !queues[i].Exists {
			continue
		}
		info, err := ask(ctx, func() (*rabbithole.DetailedQueueInfo, error) {
			return m.client.GetQueueWithParameters(m.vhost, queues[i].Name, samples)
		})
		if refusal, ok := errors.AsType[answered](err); ok && refusal.status == http.StatusNotFound {
			continue // it does not know it yet, or not any more
		}
		if err != nil {
			return err
		}
		describeQueue(&queues[i], info, m.clients)
		if m.whyNoTime != nil || m.up < arrivalWindow {
			queues[i].Arrived = nil
		}
	}
	return nil
}

// describeQueue copies what the API has figures for. A queue that is some seconds old has none, and one that collects no
// statistics never has. The library reads a missing figure as 0, so its presence shows in what comes with it.
func describeQueue(q *QueueState, info *rabbithole.DetailedQueueInfo, clients map[string]string) {
	if info.MessagesUnacknowledgedDetails != nil {
		q.Unacked, q.Arrived = &info.MessagesUnacknowledged, arrivals(info.MessageStats)
	}
	if info.ConsumerDetails == nil || len(*info.ConsumerDetails) != q.Consumers {
		return // AMQP has counted them just now: the API's list is of another moment
	}
	q.Readers = []Reader{}
	for _, c := range *info.ConsumerDetails {
		q.Readers = append(q.Readers, Reader{
			Tag: c.ConsumerTag, Ours: c.ConsumerTag == event.Service,
			Client: clients[c.ChannelDetails.ConnectionName], Connection: c.ChannelDetails.ConnectionName,
		})
	}
}

// arrivals is how much the count of messages routed to a queue has grown within arrivalWindow; nil when unknown.
func arrivals(stats *rabbithole.MessageStats) *int {
	if stats == nil {
		return new(0) // a queue that has never seen a message has none
	}
	samples := stats.PublishDetails.Samples // the newest first
	if len(samples) == 0 {
		return nil
	}
	return new(int(samples[0].Sample - samples[len(samples)-1].Sample))
}

// answered is a refusal by the API itself.
type answered struct{ status int }

func (a answered) Error() string {
	switch a.status {
	case http.StatusUnauthorized:
		return "the management API refuses the credentials (401)"
	default:
		return fmt.Sprintf("the management API answers %d %s", a.status, http.StatusText(a.status))
	}
}

// ask calls question unless ctx has ended. Its error quotes no URL and no body.
func ask[T any](ctx context.Context, question func() (T, error)) (answer T, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
	}
	if answer, err = question(); err != nil {
		return answer, reason(err)
	}
	return answer, nil
}

func reason(err error) error {
	if refusal, ok := errors.AsType[rabbithole.ErrorResponse](err); ok {
		return answered{refusal.StatusCode}
	}
	if strings.Contains(err.Error(), "401 Unauthorized") { // the library makes a plain text of this one
		return answered{http.StatusUnauthorized}
	}
	failure, ok := errors.AsType[*url.Error](err)
	if !ok {
		return errors.New("the answer of the management API cannot be read")
	}
	if failure.Timeout() {
		return fmt.Errorf("the management API does not answer within %s", managementTimeout)
	}
	if network, ok := errors.AsType[*net.OpError](failure); ok {
		return fmt.Errorf("the management API cannot be reached: %w", network)
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](failure); ok {
		return fmt.Errorf("the management API cannot be reached: %w", certificate)
	}
	return errors.New("the management API cannot be reached")
}
