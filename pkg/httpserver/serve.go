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

// Limits of one connection; Options.Routes moves two of them. A client that sends its headers slowly, or never ends, must not hold a connection for ever.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 30 * time.Second // from the end of the headers to the end of the answer, the handler included
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 32 << 10
)

// Serve answers requests on listener, which it takes over, until ctx ends; then it takes no new ones, lets those in
// flight finish (their contexts do not end with ctx) and answers nil. When they need longer than drainTimeout their
// connections are cut and the error says so. An error while ctx lives means that the listener broke.
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
		_ = server.Close() // the listener is closed already, and what else it could report is being cut anyway
		return fmt.Errorf("httpserver: cut the requests still in flight after %s: %w", drainTimeout, err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("httpserver: serving on %s: %w", listener.Addr(), err)
	}
	return nil
}

type drainingKey struct{}

// Draining answers a channel that is closed when the server of this request begins to stop: it waits for every request,
// and a stream must not keep it. Nil, which is never closed, for a request that Serve does not serve.
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
