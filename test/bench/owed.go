package main

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/test/harness"
)

// owedCount is how many people each side registers without hashing their passwords.
const owedCount = 600

// owed measures a registration that enters its mail in the ledger beside one that does not, as the use case does it: once
// as it is, and once without its hash, which takes most of the time. Both sides are apis in this process that serve nobody
// and relay nothing.
func (b *bench) owed(ctx context.Context) error {
	s, err := b.start(ctx)
	if err != nil {
		return err
	}
	cfg := b.config
	cfg.Postgres.Database, cfg.HTTP.AppPort = s.Database, 0
	err = b.compareOwed(ctx, cfg, comparison{what: "registration with its owed mail; bare: without", n: hashCount, aim: 0.95})
	if err != nil {
		return err
	}
	return b.compareOwed(ctx, cfg, comparison{what: "the same, no password hashed", n: owedCount},
		app.WithPasswords(unhashed{}))
}

func (b *bench) compareOwed(ctx context.Context, cfg config.Config, c comparison, options ...app.Option) error {
	ours, err := app.NewAPI(ctx, cfg, "bench", zerolog.Nop(), options...)
	if err != nil {
		return err
	}
	defer end(ctx, ours)
	bare, err := app.NewAPI(ctx, cfg, "bench", zerolog.Nop(), append(options, app.WithoutOwedMails())...)
	if err != nil {
		return err
	}
	defer end(ctx, bare)
	places := runtime.GOMAXPROCS(0)
	c.ours, c.bare = shared(places, c.n, registersAt(ours)), shared(places, c.n, registersAt(bare))
	return b.compare(ctx, c)
}

// owing is how many people owed has registered.
var owing atomic.Int64

// registersAt returns the work of one client at an api.
func registersAt(api *app.App) func(ctx context.Context, _ int) error {
	return func(ctx context.Context, _ int) error {
		person := authentication.Credentials{
			Email: fmt.Sprintf("owed%d@example.com", owing.Add(1)), Password: harness.Password,
		}
		_, err := api.Authentication().Register(ctx, person, authentication.Client{Locale: "en"})
		return err
	}
}

// end closes what an api has opened: it is run for no time.
func end(ctx context.Context, api *app.App) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_ = api.Run(ctx) // the database is dropped next
}

// unhashed is a PasswordHasher that does no work.
type unhashed struct{}

func (unhashed) Hash(context.Context, string) (string, error) { return "unhashed", nil }

func (unhashed) Verify(context.Context, string, string) (ok, outdated bool, err error) {
	return false, false, nil
}
