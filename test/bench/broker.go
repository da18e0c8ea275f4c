package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
)

// vhost is a part of the broker that belongs to one row alone: nothing that somebody else has bound takes a share
// of its messages.
type vhost struct {
	name string
	url  string // amqp://…/name
	conn *amqp.Connection
	used bool // has held so many messages that the broker is still tidying up after them
}

// tidying is how long the broker gets for that before the vhost is deleted. RabbitMQ 3.10 truncates the log of a purged
// quorum queue in the background; when the queue goes meanwhile, that process dies and takes the log of all quorum
// queues of the node with it for a moment (seen once, "ra_log_segment_writer terminating").
const tidying = 2 * time.Second

// newVhost creates one, asserts that it holds nothing, and answers it with a plain connection and the function that
// deletes it with all it holds.
func newVhost(ctx context.Context, s settings) (*vhost, func(), error) {
	broker, err := url.Parse(string(s.stack.RabbitMQ.URL))
	if err != nil {
		return nil, nil, errors.New("RABBITMQ_URL is not a URL") // the parser's own error quotes the password
	}
	v := &vhost{name: "bench-" + uuid.NewString()}
	broker.Path = "/" + v.name
	v.url = broker.String()
	// Not cut short by an interrupt: a request the client gives up is still carried out, and would leave the vhost behind.
	if err := manage(context.WithoutCancel(ctx), http.MethodPut, "vhosts/"+v.name, nil, nil); err != nil {
		return nil, nil, err
	}
	remove := func() {
		if v.conn != nil {
			_ = v.conn.Close()
		}
		if v.used {
			<-time.After(tidying)
		}
		var last error
		err := eventually(context.WithoutCancel(ctx), func() (bool, error) {
			last = manage(context.WithoutCancel(ctx), http.MethodDelete, "vhosts/"+v.name, nil, nil)
			return last == nil, nil
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: left behind:", last)
		}
	}
	everything := map[string]string{"configure": ".*", "write": ".*", "read": ".*"}
	var queues []struct{ Name string }
	err = errors.Join(
		manage(ctx, http.MethodPut, "permissions/"+v.name+"/"+broker.User.Username(), everything, nil),
		manage(ctx, http.MethodGet, "queues/"+v.name, nil, &queues),
	)
	if err == nil && len(queues) > 0 {
		err = fmt.Errorf("the new vhost already holds %d queues", len(queues))
	}
	if err == nil {
		v.conn, err = amqp.Dial(v.url)
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	return v, remove, nil
}

// channel is a new channel on the plain connection.
func (v *vhost) channel(confirms bool) (*amqp.Channel, error) {
	ch, err := v.conn.Channel()
	if err == nil && confirms {
		err = ch.Confirm(false)
	}
	return ch, err
}

// declare declares what q needs and asserts that there is nothing else, so that a message has exactly one place to go.
func (v *vhost) declare(ctx context.Context, q event.Queue) error {
	ch, err := v.channel(false)
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	if err := rabbitmq.NewTopology([]event.Queue{q}).Declare(ch); err != nil {
		return err
	}
	var bindings []struct{ Destination string }
	err = manage(ctx, http.MethodGet, "exchanges/"+v.name+"/"+event.Exchange+"/bindings/source", nil, &bindings)
	if err == nil && (len(bindings) != 1 || bindings[0].Destination != q.Name) {
		err = fmt.Errorf("%s is bound to %v, not to %s alone", event.Exchange, bindings, q.Name)
	}
	return err
}

// publisher runs our publisher until stop is called.
func (v *vhost) publisher(q event.Queue) (p *rabbitmq.Publisher, stop func()) {
	p = rabbitmq.NewPublisher(v.connection("publisher"), rabbitmq.NewTopology([]event.Queue{q}))
	stop = inBackground(p.Run)
	return p, stop
}

func (v *vhost) connection(name string) rabbitconn.Options {
	return rabbitconn.Options{URL: v.url, Name: "bench " + name, Log: zerolog.New(os.Stderr).Level(zerolog.WarnLevel)}
}

// holds asserts that queue holds n messages, or at most as many as may besides, and empties it.
func (v *vhost) holds(ctx context.Context, queue string, n, besides int) error {
	ch, err := v.channel(false)
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	var found amqp.Queue
	err = eventually(ctx, func() (bool, error) {
		found, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		return found.Messages >= n && found.Messages <= n+besides, err
	})
	if err != nil {
		return fmt.Errorf("%s holds %d messages, %d were expected: %w", queue, found.Messages, n, err)
	}
	v.used = true
	_, err = ch.QueuePurge(queue, false)
	return err
}

// brokerState tells what else the broker carries: it costs every figure a part.
func brokerState(ctx context.Context) string {
	var overview struct {
		Version string                 `json:"rabbitmq_version"`
		Totals  struct{ Messages int } `json:"queue_totals"`
		Objects struct{ Queues int }   `json:"object_totals"`
	}
	if err := manage(ctx, http.MethodGet, "overview", nil, &overview); err != nil {
		return "the broker does not tell its state"
	}
	return fmt.Sprintf("RabbitMQ %s, carrying %d messages in %d queues of others", overview.Version,
		overview.Totals.Messages, overview.Objects.Queues)
}

// manage calls the broker's management API. Its errors never hold the credentials.
func manage(ctx context.Context, method, path string, in, out any) error {
	base, err := url.Parse(os.Getenv("RABBITMQ_MANAGEMENT_URL"))
	if err != nil || base.User == nil {
		return errors.New("RABBITMQ_MANAGEMENT_URL is not set; run make bench")
	}
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	user := base.User
	base.User = nil
	request, err := http.NewRequestWithContext(ctx, method, base.String()+"/api/"+path, bytes.NewReader(body)) //nolint:gosec // the stack's own address
	if err != nil {
		return err
	}
	password, _ := user.Password()
	request.SetBasicAuth(user.Username(), password)
	response, err := http.DefaultClient.Do(request) //nolint:gosec // the stack's own address
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(text)))
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(out)
}

// inBackground runs a role and answers the function that ends it and waits for it.
func inBackground(run func(ctx context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	return func() { cancel(); <-ended }
}

// patience is how long eventually waits.
const patience = 15 * time.Second

// eventually asks until the answer is yes.
func eventually(ctx context.Context, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
