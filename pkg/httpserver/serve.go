package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Limits of one connection; Options.Routes moves the deadlines. A client that sends its headers slowly, or never ends,
// must not hold a connection for ever.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 30 * time.Second // from the end of the headers to the end of the response, the handler included
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 32 << 10
)

// A connection that waits in the listener's queue when that is closed is reset.
const (
	// quiet is how long nobody must have connected before the listener is closed.
	quiet = 200 * time.Millisecond
	// handshake is how long new connections are ignored before the listener is closed, for those in the queue to leave it.
	// A client that connects meanwhile tries again after a second, and is then refused.
	handshake = 50 * time.Millisecond
)

// Drain is how a server stops.
type Drain struct {
	// Delay is how long it goes on accepting connections, for those who send them here to notice.
	Delay time.Duration
	// Timeout bounds what follows: new connections that keep coming, and the requests in flight.
	Timeout time.Duration
}

// Listen returns a listener for [Serve] on address. It is of plain TCP: one of multipath TCP cannot ignore connections.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(ctx, "tcp", address)
}

// Serve serves requests on listener, which it owns from then on, until ctx ends. From then on every response closes its
// connection. Connections are accepted for d.Delay, and until none has come for 200 ms or half of d.Timeout is over. Then
// Serve lets the requests in flight finish (their contexts do not end with ctx) and returns nil. What takes longer than
// d.Timeout is cut, and Serve returns an error. An error before ctx ends means that the listener failed.
func Serve(ctx context.Context, e *echo.Echo, listener net.Listener, d Drain) error {
	server := newServer(closing(ctx, e), e.StdLogger)
	connections := newConnections()
	server.ConnState = connections.note
	server.BaseContext = func(net.Listener) context.Context {
		return context.WithValue(context.Background(), drainingKey{}, ctx.Done())
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()

	select {
	case err := <-ended:
		return fmt.Errorf("httpserver: serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}

	stopping := context.WithoutCancel(ctx)
	wait(stopping, d.Delay)
	drain, cancel := context.WithTimeout(stopping, d.Timeout)
	defer cancel()
	if d.Delay > 0 { // else nobody is expected to notice
		noticing, enough := context.WithTimeout(drain, d.Timeout/2) // the rest is for the requests in flight
		connections.cease(noticing)
		enough()
		ignoreNew(listener)
		wait(drain, handshake)
	}
	_ = listener.Close() // what Serve returns says more
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("httpserver: serving on %s: %w", listener.Addr(), err)
	}
	// http.Server.Shutdown would drop each request that it finds being read.
	server.SetKeepAlivesEnabled(false)
	finished := connections.end(drain)
	_ = server.Close() // the listener is closed, and connections without a request are cut
	if !finished {
		return fmt.Errorf("httpserver: cut the requests still in flight after %s: %w", d.Timeout, drain.Err())
	}
	return nil
}

type drainingKey struct{}

// Draining returns a channel that is closed when the server of this request begins to stop: it waits for every request,
// and a stream must not hold it up. The channel is nil, and never closed, for a request that [Serve] does not serve.
func Draining(ctx context.Context) <-chan struct{} {
	draining, _ := ctx.Value(drainingKey{}).(<-chan struct{})
	return draining
}

// closing has every response close its connection once ctx has ended.
func closing(ctx context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func newServer(handler http.Handler, log *log.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log,
	}
}
