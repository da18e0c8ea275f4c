// Package rabbitmq owns one thing: a supervised connection, which is re-established whenever it is lost ([Supervise]).
// Channels, topology and consumers are built by the caller's session each time, so nothing of an old connection
// survives.
//
// It does not use the client library's own recovery: after it the broker counts deliveries from 1 again, and an old
// handler's ack would silently delete a different message (docs/adr/0002). It does not promise that anything published
// arrived: confirms are the session's business.
package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
)

// Options of a supervised connection. Zero values take the defaults in brackets.
type Options struct {
	URL          string        // amqp:// or amqps://, with credentials; never logged
	Name         string        // shown in the broker's list of connections
	Heartbeat    time.Duration // [5 s] a dead peer is detected after three of them; RabbitMQ's docs advise 5–20 s
	WriteTimeout time.Duration // [10 s] a socket that accepts no bytes for this long is a dead connection
	Log          zerolog.Logger
}

func (o Options) withDefaults() Options {
	o.Heartbeat = cmp.Or(o.Heartbeat, 5*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	return o
}

const (
	dialTimeout  = 10 * time.Second // TCP, TLS and AMQP handshake together
	closeTimeout = 2 * time.Second
	stopTimeout  = 3 * time.Second // how long a session may run once its context has ended
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	stableAfter  = 10 * time.Second // a session this long ends the series of failures
)

// Supervise connects and runs session, again and again, until ctx ends; it then returns nil.
//
// The context of session ends when the connection is lost or ctx ends. session must return then; the connection is
// closed after it, or after 3 s, so that a session waiting for a frozen broker gets an error. Between tries Supervise
// waits with jitter, from 0.1 s to 10 s. It logs the same failure as a warning once, not per try.
func Supervise(ctx context.Context, o Options, session func(ctx context.Context, conn *amqp.Connection) error) error {
	o = o.withDefaults()
	log := o.Log.With().Str("connection", o.Name).Logger()
	failures, warned := 0, ""
	for ctx.Err() == nil {
		started := time.Now()
		err := once(ctx, o, func(ctx context.Context, conn *amqp.Connection) error {
			log.Info().Int("after_failures", failures).Msg("connected to rabbitmq")
			return session(ctx, conn)
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // an error of a session that was asked to stop is no failure
		}
		if time.Since(started) > stableAfter {
			failures, warned = 0, ""
		}
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
	watched, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case e, ok := <-lost:
			if ok && e != nil {
				cancel(fmt.Errorf("rabbitmq: connection lost: %w", e))
			} else {
				cancel(errors.New("rabbitmq: connection closed"))
			}
		case <-life.Done():
		}
		select {
		case <-finished:
		case <-time.After(stopTimeout):
			_ = conn.CloseDeadline(time.Now())
		}
	}()
	err = session(life, conn)
	cancel(err)
	close(finished)
	<-watched
	_ = conn.CloseDeadline(time.Now().Add(closeTimeout)) // already lost, or about to be
	if cause := context.Cause(life); err == nil && cause != nil {
		err = cause
	}
	return err
}

// Dial returns one connection, for tools that need no supervision. It gives up when ctx ends. The error never contains
// the URL.
func Dial(ctx context.Context, o Options) (*amqp.Connection, error) {
	o = o.withDefaults()
	if _, err := amqp.ParseURI(o.URL); err != nil {
		// The parser's error quotes the URL, with its password.
		return nil, errors.New("rabbitmq: the URL cannot be read; it has the form amqp://user:password@host:port/vhost, " +
			"special characters percent-encoded")
	}
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(o.Name)
	stopWatching := func() bool { return true }
	defer func() { stopWatching() }()
	conn, err := amqp.DialConfig(o.URL, amqp.Config{
		Heartbeat:  o.Heartbeat,
		Properties: properties,
		Dial: func(network, address string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: dialTimeout}
			tcp, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			// The library clears this deadline once the handshake is done and heartbeats have taken over.
			if err := tcp.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
				return nil, errors.Join(err, tcp.Close())
			}
			// The kernel accepts connections for a paused broker; the handshake then hangs.
			stopWatching = context.AfterFunc(ctx, func() { _ = tcp.Close() })
			return &writeDeadlineConn{Conn: tcp, timeout: o.WriteTimeout}, nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("rabbitmq: connecting: %w", err)
	}
	return conn, nil
}

// writeDeadlineConn gives every write a deadline: under a memory or disk alarm the broker stops reading, and the
// library's publish would hang in the socket whatever its context (amqp091-go#288).
type writeDeadlineConn struct {
	net.Conn
	timeout time.Duration
}

func (c *writeDeadlineConn) Write(b []byte) (int, error) {
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
