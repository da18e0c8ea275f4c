package app

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/password"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/legacy"
	ops "github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// legacyRows is the table of legacy copies.
const legacyRows = legacy.Rows

// LegacyQueue is where the mails of the previous release's queue are sent from.
const LegacyQueue = "identity.legacy"

// wing is what the previous release adds to a process, all of it from internal/legacy. Ending the migration deletes that
// package and this file, and then what the compiler names (docs/adr/0010).
type wing struct {
	*infra
	connection *legacy.Sender // role "legacy publisher"
	relay      *legacy.Relay  // role "legacy relay"
	metrics    *legacy.Metrics
	digests    legacy.Digests
}

func newWing(in *infra) *wing {
	w := &wing{
		infra:   in,
		metrics: legacy.NewMetrics(in.phase()),
		digests: legacy.NewDigests(sealKeys(in.cfg.Secrets)...),
	}
	w.metrics.Register(in.metrics.registry)
	w.connection = legacy.NewSender(w.options(in.process.name()+"-legacy-publisher"), in.phase().Declares())
	w.relay = legacy.NewRelay(legacy.RelayDeps{
		DB:       in.db,
		Clock:    in.clock,
		Sealer:   in.sealer,
		Send:     w.connection.Send,
		Observer: w.metrics.Observe(&publishObserver{in.log, in.tracer(), in.metrics}, in.log),
		Log:      in.log,
	})
	return w
}

func (w *wing) options(purpose string) rabbitmq.Options {
	return rabbitmq.Options{URL: string(w.cfg.RabbitMQ.URL), Name: "identity-" + purpose, Log: w.log}
}

// checkedBroker is a broker whose health includes the connection of the legacy copies: an alarm is only told to a
// connection that publishes.
type checkedBroker struct {
	broker
	copies *legacy.Sender
}

// Check implements broker.
func (b checkedBroker) Check(ctx context.Context) (eventmq.ExchangeHealth, error) {
	health, err := b.broker.Check(ctx)
	if err == nil {
		err = b.copies.Blocked()
	}
	return health, err
}

// publisher decides in which copies a mail with a code is committed, and writes the code where old api pods look.
func (w *wing) publisher(next event.Publisher) event.Publisher {
	return legacy.NewPublisher(legacy.PublisherDeps{
		Phase:   w.phase(),
		Next:    next,
		DB:      w.db,
		Clock:   w.clock,
		Sealer:  w.sealer,
		Render:  w.render,
		Digests: w.digests,
		Wake:    w.relay.Wake,
	})
}

// requests finds what pods of the previous release have made as well, while such pods serve.
func (w *wing) requests(next authentication.CodeRequestRepository) authentication.CodeRequestRepository {
	if !w.phase().Mixed() {
		return next
	}
	return legacy.NewRequests(legacy.RequestsDeps{
		CodeRequestRepository: next,
		DB:                    w.db,
		Clock:                 w.clock,
		Keys:                  codeKeys(w.cfg.Secrets),
	})
}

// sessions remembers logouts with tokens of the previous release, and identifier takes such tokens, as long as they count.
func (w *wing) sessions(next authentication.SessionRepository) authentication.SessionRepository {
	if !w.phase().OldTokens() {
		return next
	}
	return legacy.NewSessions(legacy.SessionsDeps{SessionRepository: next, DB: w.db})
}

func (w *wing) identifier(next authentication.Identifier, users authentication.UserRepository) authentication.Identifier {
	if !w.phase().OldTokens() {
		return next
	}
	return legacy.NewIdentifier(legacy.IdentifierDeps{Next: next, Users: users, DB: w.db, Clock: w.clock})
}

// passwords makes hashes that binaries of the previous release can read, as long as they may have to take over again.
func (w *wing) passwords(core *password.Hasher) authentication.PasswordHasher {
	if !w.phase().Returnable() {
		return core
	}
	return legacy.NewPasswords(core)
}

// shadow compares stamped copies instead of sending them.
func (w *wing) shadow() *legacy.Shadow {
	return legacy.NewShadow(legacy.ShadowDeps{
		DB:       w.db,
		Clock:    w.clock,
		Render:   w.render,
		Digests:  w.digests,
		Compared: w.metrics.Compared,
	})
}

// unnamed guards the mails of the previous release's api against repeats.
func (w *wing) unnamed() *legacy.Unnamed {
	return legacy.NewUnnamed(legacy.UnnamedDeps{
		DB:         w.db,
		Clock:      w.clock,
		SealKeys:   sealKeys(w.cfg.Secrets),
		Lease:      mailLease,
		RenewEvery: renewEvery,
	})
}

// legacyQueues are the wing's queues. The standalone, which has no previous release behind it, has none.
func legacyQueues(cfg config.Config, retry event.Policy) []event.Queue {
	if cfg.Events.Phase == "" {
		return nil
	}
	return []event.Queue{{Name: LegacyQueue, Retry: retry, Workers: cfg.Email.Count, Prefetch: cfg.Email.Prefetch}}
}

// readOldQueue is the role that moves the mails of the old queue to ours.
func (w *wing) readOldQueue(ctx context.Context) error {
	if !w.cfg.Events.ConsumeLegacy {
		<-ctx.Done()
		return nil
	}
	queues := Queues(w.cfg)
	i := slices.IndexFunc(queues, func(q event.Queue) bool { return q.Name == LegacyQueue })
	return legacy.NewReader(legacy.ReaderDeps{
		Connection: w.options("consumer-legacy"),
		Queue:      queues[i],
		Sender:     w.broker,
		StaleAck:   func(queue string) { w.infra.metrics.staleAcks.WithLabelValues(queue).Inc() },
		Refused:    w.metrics.Refused,
	}).Run(ctx)
}

// purgeComparisons, purgeUnnamed and purgeTokens delete expired rows of the wing's tables.
func (w *wing) purgeComparisons(ctx context.Context, then time.Time) (int64, error) {
	return legacy.PurgeShadows(ctx, w.db, then)
}

func (w *wing) purgeUnnamed(ctx context.Context, then time.Time) (int64, error) {
	return legacy.PurgeUnnamed(ctx, w.db, then)
}

func (w *wing) purgeTokens(ctx context.Context, then time.Time) (int64, error) {
	return legacy.PurgeEndedTokens(ctx, w.db, then)
}

// render writes the mail with a code: for the previous release's consumers, and to compare with what they got.
func (w *wing) render(locale, code string, now, expiresAt time.Time) (subject, html string, err error) {
	r, err := w.renderer.Verification(locale, code, now, expiresAt)
	return r.Subject, r.HTML, err
}

// phase is the phase of the migration; the standalone has none behind it.
func (in *infra) phase() legacy.Phase {
	if in.embedded != nil {
		return legacy.Complete
	}
	return legacy.Phase(in.cfg.Events.Phase)
}

// outboxDepth returns how full the outbox is, legacy copies included.
func outboxDepth(ctx context.Context, db *database.DB, now time.Time) (outbox.Depth, error) {
	own, err := outbox.Rows.Depth(ctx, db, now)
	if err != nil {
		return own, err
	}
	copies, err := legacy.Rows.Depth(ctx, db, now)
	return own.Add(copies), err
}

// waitingRows returns the rows of these events that wait to be published, legacy copies included, by event.
func waitingRows(ctx context.Context, db *database.DB, eventIDs []string) (map[string]outbox.Waiting, error) {
	own, err := outbox.Rows.Find(ctx, db, eventIDs)
	if err != nil {
		return nil, err
	}
	copies, err := legacy.Rows.Find(ctx, db, eventIDs)
	rows := map[string]outbox.Waiting{}
	for _, row := range slices.Concat(own, copies) { // a mail is sent from its legacy copy where there are both
		rows[row.EventID] = row
	}
	return rows, err
}

// retryOutbox makes every given-up row due again, legacy copies included, and returns how many there were.
func retryOutbox(ctx context.Context, db *database.DB, now time.Time) (int64, error) {
	own, err := outbox.Rows.Retry(ctx, db, now)
	if err != nil {
		return own, err
	}
	copies, err := legacy.Rows.Retry(ctx, db, now)
	return own + copies, err
}

// look adds how far the migration off the fanout is.
func (w *wing) look(ctx context.Context, m *ops.Migration) error {
	tool, err := LegacyTool(ctx, w.cfg, w.db)
	if err != nil {
		return err
	}
	f, err := tool.Facts(ctx, 24*time.Hour)
	if err != nil {
		return err
	}
	m.Next = string(f.Next())
	v := legacy.Judge(f, f.Next())
	m.Phase, m.Safe, m.Blockers, m.Unknown, m.Warnings, m.Waiting = string(f.Phase()), v.Safe, v.Blockers, v.Unknown, v.Warnings, f.Waiting
	return nil
}

// LegacyTool returns the operator's view on the migration. A database that lacks a schema migration is an error.
func LegacyTool(ctx context.Context, cfg config.Config, db *database.DB) (*legacy.Tool, error) {
	if err := schema.Current(ctx, db); err != nil {
		return nil, err
	}
	clock, err := startClock(ctx, db)
	if err != nil {
		return nil, err
	}
	return legacy.NewTool(legacy.ToolDeps{
		DB:            db,
		Clock:         clock,
		Audit:         newRecorder(db, clock),
		Connection:    rabbitmq.Options{URL: string(cfg.RabbitMQ.URL), Name: "identity-migration", Log: zerolog.Nop()},
		ManagementURL: string(cfg.RabbitMQ.ManagementURL),
		Queues:        Queues(cfg),
		Email:         EmailQueue,
		Legacy:        LegacyQueue,
	}), nil
}
