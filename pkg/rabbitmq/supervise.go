// Package rabbitmq owns the connection to the broker: it is re-established whenever it is lost ([Supervise]). Channels,
// topology and consumers are built by the caller's session each time, so nothing of an old connection survives.
//
// Of several nodes of a cluster every connection goes to one at random, and to another as soon as that one is lost or
// does not reply: the connections of a fleet spread over the nodes that are left.
//
// A message with headers that the client library would close the connection over arrives without them
// ([HeaderUnreadable], docs/adr/0013). An error never carries the URL, nor, once it has passed [Plain], what a server
// said.
//
// It does not use the client library's own recovery: after it the broker counts deliveries from 1 again, and an old
// handler's ack would silently delete a different message (docs/adr/0002). It does not promise that anything published
// arrived: confirms are the session's business.
package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
)

// Options of a connection. Zero values take the default in brackets.
type Options struct {
	// URL is amqp:// or amqps://, with credentials. Those of several nodes of one cluster are separated by commas, each of
	// them complete. It is never logged.
	URL  string
	Name string // shown in the broker's list of connections
	// Heartbeat is how often each side is heard. [5 s; of several nodes 3 s at most] A dead peer is detected after three of
	// them. RabbitMQ's docs advise 5–20 s, where a false alarm costs more than a connection to another node.
	Heartbeat time.Duration
	Log       zerolog.Logger
}

const (
	heartbeat     = 5 * time.Second
	nodeHeartbeat = 3 * time.Second  // where there is another node
	writeTimeout  = 10 * time.Second // a socket that accepts no bytes for this long is a dead connection
	dialTimeout   = 10 * time.Second // TCP, TLS and AMQP handshake together
	nodeTimeout   = 4 * time.Second  // the same where there is another node
	closeTimeout  = 2 * time.Second
	stopTimeout   = 3 * time.Second // how long a session may run once its context has ended
	minBackoff    = 100 * time.Millisecond
	maxBackoff    = 10 * time.Second
	stableAfter   = 10 * time.Second // a session this long ends the series of failures
)

// Supervise connects and runs session, again and again, until ctx ends; it then returns nil.
//
// The context of session ends when the connection is lost or ctx ends. session must return then; the connection is
// closed after it, or after 3 s, so that a session waiting for a frozen broker gets an error. Between tries Supervise
// waits with jitter, from 0.1 s to 10 s. It logs the same failure as a warning once, not per try.
func Supervise(ctx context.Context, o Options, session func(ctx context.Context, conn *amqp.Connection) error) error {
	log := o.Log.With().Str("connection", o.Name).Logger()
	failures, warned := 0, ""
	for ctx.Err() == nil {
		started := time.Now()
		err := once(ctx, o, func(ctx context.Context, conn *amqp.Connection) error {
			log.Info().Int("after_failures", failures).Stringer("node", conn.RemoteAddr()).Msg("connected to rabbitmq")
			return session(ctx, conn)
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // an error of a session that was asked to stop is no failure
		}
		if time.Since(started) > stableAfter {
			failures, warned = 0, ""
		}
		err = Plain(err)
		level := zerolog.DebugLevel
		if err.Error() != warned {
			level, warned = zerolog.WarnLevel, err.Error()
		}
		log.WithLevel(level).Err(err).Int("failures", failures).Msg("rabbitmq is unavailable; reconnecting")
		wait(ctx, backoff(failures))
		failures++
	}
	return nil
}

// once runs one session on one connection.
func once(ctx context.Context, o Options, session func(ctx context.Context, conn *amqp.Connection) error) error {
	conn, err := Dial(ctx, o)
	if err != nil {
		return err
	}
	lost := conn.NotifyClose(make(chan *amqp.Error, 1))
	life, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { cancel(lossOf(<-lost)) }() // lost is closed with the connection
	stopCutting := context.AfterFunc(life, func() {
		time.AfterFunc(stopTimeout, func() { _ = conn.CloseDeadline(time.Now()) })
	})
	err = session(life, conn)
	stopCutting()
	cancel(err)
	_ = conn.CloseDeadline(time.Now().Add(closeTimeout)) // already lost, or about to be
	if cause := context.Cause(life); err == nil && cause != nil {
		err = cause
	}
	return err
}

// lossOf returns the cause of a session's end: e is nil for a connection that was closed in order.
func lossOf(e *amqp.Error) error {
	if e == nil {
		return errors.New("rabbitmq: connection closed")
	}
	return fmt.Errorf("rabbitmq: connection lost: %w", e)
}

// writeDeadlineConn gives every write a deadline: under a memory or disk alarm the broker stops reading, and the
// library's publish would hang in the socket whatever its context (amqp091-go#288).
type writeDeadlineConn struct {
	net.Conn
	timeout time.Duration
}

func (c writeDeadlineConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// backoff doubles from minBackoff to maxBackoff. Half of it is random, so that pods do not reconnect in step.
func backoff(failures int) time.Duration {
	d := min(minBackoff<<min(failures, 10), maxBackoff)
	return d/2 + rand.N(d/2)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
