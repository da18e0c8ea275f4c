package app

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/password"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/internal/notification/render"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/lifecycle"
	"github.com/smap-platform/identity/pkg/logger"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
)

// LegacyQueue takes what the previous release's queue has handed us and could not be sent at once.
const LegacyQueue = "identity.legacy"

// wing is what the previous release adds to a process. Ending the migration deletes this file and internal/legacy, and
// then what the compiler names (docs/adr/0009).
type wing struct {
	*parts
	sender  *legacy.Sender
	relay   *legacy.Relay
	metrics *legacy.Metrics
	digests legacy.Digests
}

// newWing returns the wing of a process. Its roles are for processes that have RabbitMQ.
func newWing(p *parts, name string) *wing {
	w := &wing{
		parts:   p,
		metrics: legacy.NewMetrics(p.phase),
		digests: legacy.NewDigests(p.cfg.Secrets.EventsSeal),
	}
	w.sender = legacy.NewSender(rabbitconn.Options{
		URL:  string(p.cfg.RabbitMQ.URL),
		Name: "identity-" + name + "-legacy-publisher",
		Log:  p.log,
	}, p.phase.Declares())
	w.relay = legacy.NewRelay(legacy.RelayDeps{
		DB:       p.db,
		Clock:    p.clock,
		Sealer:   p.sealer,
		Send:     w.sender.Send,
		Observer: w.metrics.Observe(&publishObserver{log: p.log, metrics: p.metrics}, p.log),
		Log:      p.log,
	})
	return w
}

// publisher decides in which copies a mail with a code is committed, and writes the code where old api pods look.
func (w *wing) publisher(next event.Publisher) event.Publisher {
	return legacy.NewPublisher(legacy.PublisherDeps{
		Phase:   w.phase,
		Next:    next,
		DB:      w.db,
		Clock:   w.clock,
		Sealer:  w.sealer,
		Render:  w.render,
		Digests: w.digests,
		Wake:    w.relay.Wake,
	})
}

// codes accepts codes of the previous release.
func (w *wing) codes(next authentication.CodeRepository) authentication.CodeRepository {
	return legacy.NewCodes(legacy.CodesDeps{
		CodeRepository: next,
		DB:             w.db,
		Clock:          w.clock,
		Key:            authentication.CodeKey(w.cfg.Secrets.CodeHMAC),
	})
}

// passwords hashes what binaries of the previous release can read, as long as they may have to take over again.
func (w *wing) passwords(core *password.Hasher) authentication.PasswordHasher {
	if !w.phase.Returnable() {
		return core
	}
	return legacy.NewPasswords(core)
}

// comparing compares stamped copies instead of sending them.
func (w *wing) comparing(next event.Handler) event.Handler {
	return legacy.NewShadow(legacy.ShadowDeps{
		DB:       w.db,
		Clock:    w.clock,
		Render:   w.render,
		Digests:  w.digests,
		Compared: w.metrics.Compared,
	}).Compare(next)
}

// forwarding sends the previous release's mails as they stand: the handler of LegacyQueue.
func (w *wing) forwarding(sender *notifications.Sender) event.Handler {
	return legacy.NewUnnamed(legacy.UnnamedDeps{
		DB:      w.db,
		Clock:   w.clock,
		SealKey: w.cfg.Secrets.EventsSeal,
		Lease:   w.mailLease(),
		Log:     w.log,
	}).Guard(legacy.Forward(forwarder{sender, w.log}))
}

// publishing are the roles of every process that has RabbitMQ: the connection stops after the relay.
func (w *wing) publishing() (relay, connection lifecycle.Role) {
	return lifecycle.Role{Name: "legacy relay", Run: w.relay.Run}, lifecycle.Role{Name: "legacy publisher", Run: w.sender.Run}
}

// reading is the role of a consumer that reads the old queue; consumer is that of LegacyQueue. Nil roles are none.
func (w *wing) reading(consumer event.Consumer) []lifecycle.Role {
	if !w.cfg.Events.ConsumeLegacy {
		return nil
	}
	reader := legacy.NewReader(legacy.ReaderDeps{
		Connection:   rabbitconn.Options{URL: string(w.cfg.RabbitMQ.URL), Name: "identity-consumer-legacy", Log: w.log},
		Consumer:     consumer,
		Sender:       w.broker,
		Now:          w.clock.Now,
		DrainTimeout: w.cfg.Service.ShutdownTimeout / 2,
		StaleAck:     func(queue string) { w.parts.metrics.staleAcks.WithLabelValues(queue).Inc() },
		Refused:      w.metrics.Refused,
	})
	return []lifecycle.Role{{Name: "legacy consumer", Run: reader.Run}}
}

// legacyQueue is the wing's queue: the standalone, where there never was a previous release, has none.
func legacyQueue(cfg config.Config, retry event.Policy) []event.Queue {
	if cfg.Events.Phase == "" {
		return nil
	}
	return []event.Queue{{Name: LegacyQueue, Retry: retry, Workers: cfg.Email.Count, Prefetch: cfg.Email.Prefetch}}
}

// purges deletes expired rows of the wing's tables.
func (w *wing) purges(ctx context.Context, now time.Time) {
	w.purge(ctx, "comparisons", func() (int64, error) { return legacy.PurgeShadows(ctx, w.db, now.Add(-ledgerLife)) })
	w.purge(ctx, "mails without an id", func() (int64, error) {
		return legacy.PurgeUnnamed(ctx, w.db, now.Add(-legacy.UnnamedFor))
	})
}

// render writes the mail with a code: for the previous release's consumers, and to compare with what they got.
func (w *wing) render(locale, code string, now, expiresAt time.Time) (subject, html string, err error) {
	r, err := w.renderer.Verification(locale, render.Code{Code: code, Now: now, ExpiresAt: expiresAt})
	return r.Subject, r.HTML, err
}

// readDepth returns how full the outbox is, legacy copies included.
func readDepth(ctx context.Context, db *database.DB, now time.Time) (outbox.Depth, error) {
	own, err := outbox.ReadDepth(ctx, db, now)
	if err != nil {
		return own, err
	}
	copies, err := legacy.ReadDepth(ctx, db, now)
	return own.Add(copies), err
}

// retryRows makes every given-up row due again, legacy copies included, and returns how many there were.
func retryRows(ctx context.Context, db *database.DB, now time.Time) (int64, error) {
	own, err := outbox.Retry(ctx, db, now)
	copies, copiesErr := legacy.Retry(ctx, db, now)
	return own + copies, errors.Join(err, copiesErr)
}

// LegacyTool returns the operator's view on the migration. A database that lacks a schema migration is an error.
func LegacyTool(ctx context.Context, cfg config.Config, db *database.DB) (*legacy.Tool, error) {
	if err := schema.Current(ctx, db); err != nil {
		return nil, err
	}
	clock := database.NewClock(db)
	if err := clock.Sync(ctx); err != nil {
		return nil, err
	}
	return legacy.NewTool(legacy.ToolDeps{
		DB:            db,
		Clock:         clock,
		Connection:    rabbitconn.Options{URL: string(cfg.RabbitMQ.URL), Name: "identity-migration", Log: zerolog.Nop()},
		ManagementURL: string(cfg.RabbitMQ.ManagementURL),
		Queues:        Queues(cfg),
		Email:         EmailQueue,
		Legacy:        LegacyQueue,
	}), nil
}

// forwarder lets the previous release's mails be sent as they stand.
type forwarder struct {
	sender *notifications.Sender
	log    zerolog.Logger
}

// Forward implements legacy.Forwarder.
func (f forwarder) Forward(ctx context.Context, c legacy.Copy) error {
	err := f.sender.Forward(ctx, notifications.Forwarded{
		EventID:   c.EventID,
		Recipient: c.Recipient,
		Cc:        c.CcAddresses,
		ReplyTo:   c.ReplyTo,
		Subject:   c.Subject,
		HTML:      c.Body,
		ExpiresAt: c.ExpiresAt,
	})
	if err == nil {
		log := logger.WithTrace(ctx, f.log)
		log.Info().Str("event_id", c.EventID).Str("to", logger.MaskEmail(c.Recipient)).
			Msg("mail of the previous release's path accepted by the server")
	}
	return err
}
