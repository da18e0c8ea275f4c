package app

import (
	"context"
	"fmt"
	"net"

	"github.com/labstack/echo/v4"

	operationshttp "github.com/smap-platform/identity/internal/operations/delivery/http"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// operations is the console of a consumer. It is zero where CONSOLE_ADDR is not set.
type operations struct {
	web      *echo.Echo
	listener net.Listener
}

// assembleOperations builds the console, unless it is off.
func (a *App) assembleOperations() {
	if a.cfg.Console.Addr == "" || a.process != inConsumer {
		return
	}
	a.operations.web = httpserver.New(httpserver.Options{
		Log:     a.log,
		Tracer:  a.tracer(),
		Timeout: requestTimeout,
		Routes:  operationshttp.Limits(),
		Explain: database.Explain,
	})
	operationshttp.Register(a.operations.web, operationshttp.Options{
		Access: operationshttp.Access{
			Token:    string(a.cfg.Secrets.Console),
			Hosts:    httpserver.Hosts(a.cfg.Console.Hosts),
			ReadOnly: a.cfg.Console.ReadOnly,
		},
		Version: a.version,
		Now:     a.clock.Now,
		Log:     a.log,
		Facts:   a.health.facts.state,
	})
}

// bindOperations binds the console's address.
func (a *App) bindOperations(ctx context.Context) (err error) {
	address := a.cfg.Console.Addr
	if a.operations.listener, err = httpserver.Listen(ctx, address); err != nil {
		return fmt.Errorf("CONSOLE_ADDR: %s cannot be used: %w", address, err)
	}
	a.log.Info().Str("address", a.operations.listener.Addr().String()).Bool("token", a.cfg.Secrets.Console != "").
		Bool("read_only", a.cfg.Console.ReadOnly).Msg("the operations console is served")
	return nil
}

// serveOperations serves the console, unless it is off.
func (a *App) serveOperations(ctx context.Context) error {
	if a.operations.listener == nil {
		<-ctx.Done()
		return nil
	}
	return a.serve(a.operations.web, a.operations.listener)(ctx)
}
