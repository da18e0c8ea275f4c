package rabbitmq

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Dial returns one connection, for tools that need no supervision. Of several nodes it tries each once, in random order.
// It gives up when ctx ends. The error never contains the URL, nor what the server said.
func Dial(ctx context.Context, o Options) (*amqp.Connection, error) {
	nodes := strings.Split(o.URL, ",")
	timeout := dialTimeout
	o.Heartbeat = cmp.Or(o.Heartbeat, heartbeat)
	if len(nodes) > 1 {
		timeout = nodeTimeout
		o.Heartbeat = min(o.Heartbeat, nodeHeartbeat)
	}
	refusals := make(nodeErrors, len(nodes)) // in the order of the nodes, so that the same outage reads the same
	for _, i := range rand.Perm(len(nodes)) {
		o.URL = nodes[i]
		conn, err := dialNode(ctx, o, timeout)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		refusals[i] = err
	}
	if len(nodes) == 1 {
		return nil, refusals[0]
	}
	return nil, refusals
}

// nodeErrors is why none of several nodes could be used, one after the other.
type nodeErrors []error

func (e nodeErrors) Error() string {
	var text []string
	for _, err := range e {
		if !slices.Contains(text, err.Error()) {
			text = append(text, err.Error())
		}
	}
	return fmt.Sprintf("none of %d nodes: %s", len(e), strings.Join(text, "; "))
}

// Unwrap returns the errors.
func (e nodeErrors) Unwrap() []error { return e }

// dialNode connects to the one node of o.URL.
func dialNode(ctx context.Context, o Options, timeout time.Duration) (*amqp.Connection, error) {
	uri, err := amqp.ParseURI(o.URL)
	if err != nil {
		// The parser's error quotes the URL, with its password.
		return nil, errors.New("rabbitmq: the URL cannot be read; it has the form amqp://user:password@host:port/vhost, " +
			"special characters percent-encoded")
	}
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(o.Name)
	stopWatching := func() bool { return true }
	defer func() { stopWatching() }()
	// TLS is ours, so that the filter is inside it; the rest of the URL means what it means to the library.
	conn, err := amqp.DialConfig("amqp"+strings.TrimPrefix(o.URL, uri.Scheme), amqp.Config{
		Heartbeat:  o.Heartbeat,
		Properties: properties,
		Dial: func(network, _ string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: timeout}
			tcp, err := dialer.DialContext(ctx, network, net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)))
			if err != nil {
				return nil, err
			}
			// The library clears this deadline once the handshake is done and heartbeats have taken over.
			if err := tcp.SetDeadline(time.Now().Add(timeout)); err != nil {
				return nil, errors.Join(err, tcp.Close())
			}
			// The kernel accepts connections for a paused broker; the handshake then hangs.
			stopWatching = context.AfterFunc(ctx, func() { _ = tcp.Close() })
			socket := net.Conn(writeDeadlineConn{Conn: tcp, timeout: writeTimeout})
			if uri.Scheme == "amqps" {
				if socket, err = secure(ctx, socket, uri); err != nil {
					return nil, errors.Join(err, tcp.Close())
				}
			}
			return newHeaderFilter(socket), nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("rabbitmq: connecting: %w", Plain(err))
	}
	return conn, nil
}

// secure returns conn inside TLS, with the parameters that the library documents for a URL.
func secure(ctx context.Context, conn net.Conn, uri amqp.URI) (net.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cmp.Or(uri.ServerName, uri.Host)}
	if uri.CACertFile != "" {
		pem, err := os.ReadFile(uri.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("reading cacertfile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("cacertfile holds no certificate")
		}
	}
	if uri.CertFile != "" && uri.KeyFile != "" {
		certificate, err := tls.LoadX509KeyPair(uri.CertFile, uri.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading certfile and keyfile: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	client := tls.Client(conn, config)
	return client, client.HandshakeContext(ctx)
}
