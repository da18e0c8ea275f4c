package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/smap-platform/identity/internal/event"
	ops "github.com/smap-platform/identity/internal/operations"
	operationshttp "github.com/smap-platform/identity/internal/operations/delivery/http"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/status"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
	"github.com/smap-platform/identity/pkg/lifecycle"
)

// operations is the console of a consumer. It is zero where CONSOLE_ADDR is not set.
type operations struct {
	web      *echo.Echo
	listener net.Listener
	history  *ops.History
	desk     *ops.Desk
}

// assembleOperations builds the console, unless it is off.
func (a *App) assembleOperations(events event.Publisher) {
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
	a.health.facts.every = ops.SampleEvery
	a.operations.history = ops.NewHistory(a.health.facts.state, a.metrics.counted, a.clock.Now)
	view := operationsView{App: a}
	view.migrations = &cached[migrationSeen]{every: migrationEvery, ask: view.readMigration}
	a.operations.desk = a.newDesk()
	operationshttp.Register(a.operations.web, operationshttp.Options{
		Access: operationshttp.Access{
			Token:    string(a.cfg.Secrets.Console),
			Hosts:    httpserver.Hosts(a.cfg.Console.Hosts),
			ReadOnly: a.cfg.Console.ReadOnly,
		},
		Version:    a.version,
		Now:        a.clock.Now,
		Log:        a.log,
		Facts:      a.health.facts.state,
		History:    a.operations.history,
		Processes:  view,
		Scheduler:  a.scheduler,
		Migrations: view,
		Desk:       a.operations.desk,
		Lanes:      operatedLanes{newLanes(a.db, a.tx, a.clock), a},
		People:     a.newPeople(events),
		Projects:   view,
		Record:     view,
	})
}

// sampleOperations keeps what the console's charts show.
func (a *App) sampleOperations(ctx context.Context) error {
	if a.operations.history == nil {
		<-ctx.Done()
		return nil
	}
	return lifecycle.Every(ctx, ops.SampleEvery, a.operations.history.Take)
}

// counted returns what this process has done since its start.
func (m *metrics) counted() ops.Counters {
	return ops.Counters{
		Published: total(m.published),
		Consumed:  total(m.handled),
		Mails:     total(m.mailsProcessed),
	}
}

// total returns the sum of a collector's counters, and of how often its histograms have observed.
func total(c prometheus.Collector) (sum float64) {
	series := make(chan prometheus.Metric)
	go func() {
		defer close(series)
		c.Collect(series)
	}()
	for metric := range series {
		var read dto.Metric
		if metric.Write(&read) == nil {
			sum += read.GetCounter().GetValue() + float64(read.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// migrationEvery is how long the state of the migrations is kept: it is asked for at the management API.
const migrationEvery = 15 * time.Second

type migrationSeen struct {
	ops.Migration
	err error
}

// operationsView is the service as the console looks at it.
type operationsView struct {
	*App
	migrations *cached[migrationSeen]
}

// Processes implements [ops.Processes].
func (v operationsView) Processes(ctx context.Context) ([]ops.Process, error) {
	all, err := v.processesWithin(ctx, ops.Window)
	found := make([]ops.Process, 0, len(all))
	for _, p := range all {
		var says status.Report
		_ = json.Unmarshal([]byte(p.Report), &says) // of another release, which says nothing then
		found = append(found, ops.Process{Process: p, Says: says, Self: p.ID == v.heartbeat.ID()})
	}
	return found, err
}

// Migration implements [ops.Migrations].
func (v operationsView) Migration(ctx context.Context) (ops.Migration, error) {
	ctx, cancel := context.WithTimeout(ctx, askerTimeout)
	defer cancel()
	seen := v.migrations.state(ctx)
	if seen.At.IsZero() && seen.err == nil {
		return seen.Migration, errors.New("nothing has been found out yet; load the page again")
	}
	return seen.Migration, seen.err
}

func (v operationsView) readMigration(ctx context.Context) (seen migrationSeen) {
	seen.At = v.clock.Now()
	steps, err := schema.Status(ctx, v.db)
	for _, s := range steps {
		seen.Steps = append(seen.Steps, ops.Step{Name: s.Name, AppliedAt: s.AppliedAt})
	}
	seen.err = errors.Join(plain(err), v.legacy.look(ctx, &seen.Migration))
	return seen
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
