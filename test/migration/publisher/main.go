// Command publisher is the api role under a steady load of its own making, for tests: it composes the role as the api
// does, and registers a new person through the use case again and again. What has been committed is in the database.
//
// Environment: what the api reads, EVENTS_MIGRATION_PHASE included, and RATE, registrations per second. Passwords are
// not hashed: that would take all the time there is. SIGINT and SIGTERM end the registrations first, then the role; a
// registration that fails is a line in the log ("a registration failed") and nothing else. Exit code 1 says that the
// role could not begin, or did not end in order.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/logger"
)

const (
	// places is how many registrations may be under way; a database that is slower than the rate slows the rate.
	places  = 16
	timeout = 10 * time.Second // of one registration
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "publisher:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	rate, err := strconv.Atoi(os.Getenv("RATE"))
	if err != nil || rate < 1 {
		return fmt.Errorf("RATE %q: registrations per second, at least 1", os.Getenv("RATE"))
	}
	cfg, err := config.Load(config.API)
	if err != nil {
		return err
	}
	log, err := logger.New(logger.Options{Level: cfg.Log.Level, Format: cfg.Log.Format, Service: "walk-publisher"})
	if err != nil {
		return err
	}
	api, err := app.NewAPI(ctx, cfg, "walk", log, app.WithPasswords(unhashed{}))
	if err != nil {
		return err
	}
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	registering, stopRegistering := context.WithCancel(ctx)
	defer stopRegistering()
	served := make(chan error, 1)
	go func() {
		served <- api.Run(serving)
		stopRegistering()
	}()
	register(registering, log, api, rate)
	stopServing()
	return <-served
}

// register registers people until ctx ends, and returns once the last registration has ended.
func register(ctx context.Context, log zerolog.Logger, api *app.App, rate int) {
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, places)
	next := time.NewTicker(time.Second / time.Duration(rate))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
			defer cancel()
			person := authentication.Credentials{Email: uuid.NewString() + "@example.com", Password: "correct horse battery staple"}
			if _, err := api.Authentication().Register(ctx, person, authentication.Client{Locale: "en"}); err != nil {
				log.Error().Err(err).Msg("a registration failed")
			}
		})
	}
}

// unhashed is a PasswordHasher that does no work. None of these people logs in.
type unhashed struct{}

func (unhashed) Hash(context.Context, string) (string, error) { return "unhashed", nil }

func (unhashed) Verify(context.Context, string, string) (ok, outdated bool, err error) {
	return false, false, nil
}
