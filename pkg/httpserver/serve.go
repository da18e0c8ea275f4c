package httpserver

import (
	"context"
	"errors"
	"fmt"
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

// Serve serves requests on listener, which it owns from then on, until ctx ends. Then it accepts no new ones, lets
// those in flight finish (their contexts do not end with ctx) and returns nil. When they need longer than drainTimeout
// it cuts their connections and returns an error. An error before ctx ends means that the listener failed.
func Serve(ctx context.Context, e *echo.Echo, listener net.Listener, drainTimeout time.Duration) error {
	server := newServer(e)
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

	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		_ = server.Close() // the listener is already closed, and the connections are cut anyway
		return fmt.Errorf("httpserver: cut the requests still in flight after %s: %w", drainTimeout, err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("httpserver: serving on %s: %w", listener.Addr(), err)
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

func newServer(e *echo.Echo) *http.Server {
	return &http.Server{
		Handler:           e,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          e.StdLogger,
	}
}
