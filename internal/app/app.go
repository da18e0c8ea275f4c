package app

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	auditsql "github.com/smap-platform/identity/internal/audit/repository/sqldb"
	audits "github.com/smap-platform/identity/internal/audit/usecase"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/password"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/token"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/heartbeat"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/notification/smtp"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	projectevents "github.com/smap-platform/identity/internal/project/delivery/rabbitmq"
	progressredis "github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/internal/project/repository/redispubsub"
	projectsql "github.com/smap-platform/identity/internal/project/repository/sqldb"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	"github.com/smap-platform/identity/internal/subscription"
	subscriptionredis "github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/mailer"
)

const (
	// inviteTx bounds the transaction of one upload.
	inviteTx = 2 * time.Minute
	// mailLease is how long the mail of a killed consumer waits before another may try. With the retry level that looks
	// once too late, it is taken over within 15 s.
	mailLease = 10 * time.Second
	// renewEvery is how often a try renews its lease. Two renewals may fail.
	renewEvery = 3 * time.Second
	// repairEvery is the time between two comparisons of batches with their projects.
	repairEvery = 15 * time.Second
)

// App is one process of the service: api, consumer, or both on embedded parts. Its fields are what roles.go runs.
type App struct {
	*infra

	owingOff bool // see WithoutOwedMails

	relay     *outbox.Relay
	heartbeat *heartbeat.Heartbeat
	started   time.Time
	progress  *progress

	// The api's side.
	passwords      authentication.PasswordHasher
	authentication *authentications.UseCase
	web            *echo.Echo
	apiListener    net.Listener
	// internal is web unless INTERNAL_PORT is set.
	internal         *echo.Echo
	internalListener net.Listener

	// The consumer's side.
	sweeper         *projects.Sweeper
	scheduler       *subscriptions.Scheduler
	repairer        *invitations.Repairer
	consumer        consumer
	mail            *mailer.Mailer
	monitor         *echo.Echo
	monitorListener net.Listener
}

// Option changes how an App is composed.
type Option func(*App)

// WithPasswords has h hash the passwords. It is for load tests, which would otherwise measure the hashing.
func WithPasswords(h authentication.PasswordHasher) Option {
	return func(a *App) { a.passwords = h }
}

// NewAPI returns the api on the servers that cfg names, of which only the database has to be there. Its port is bound;
// nothing is served before Run.
func NewAPI(ctx context.Context, cfg config.Config, version string, log zerolog.Logger, o ...Option) (*App, error) {
	return newOnServers(ctx, cfg, inAPI, version, log, o...)
}

// NewConsumer is [NewAPI] for the event side: the queues, a relay, and a small HTTP server for health and metrics.
func NewConsumer(ctx context.Context, cfg config.Config, version string, log zerolog.Logger) (*App, error) {
	return newOnServers(ctx, cfg, inConsumer, version, log)
}

func newOnServers(
	ctx context.Context, cfg config.Config, p process, version string, log zerolog.Logger, options ...Option,
) (*App, error) {
	in, err := production(ctx, cfg, p, version, log)
	if err != nil {
		return nil, err
	}
	return assemble(ctx, in, options...)
}

// assemble builds what the process's roles run, in the order in which one part needs another.
func assemble(ctx context.Context, in *infra, options ...Option) (*App, error) {
	a := &App{infra: in}
	for _, set := range options {
		set(a)
	}
	// Events leave through the outbox, in the transaction of what they report.
	a.relay = outbox.NewRelay(in.db, in.sealer, in.clock, in.broker, &publishObserver{in.log, in.tracer(), in.metrics},
		float64(in.cfg.Invitations.PerSecond), in.log)
	in.metrics.watchSealing(func() int { return a.relay.Foreign() + in.legacy.relay.Foreign() })
	in.health.sealing = func() error { return errors.Join(a.relay.KeyError(), in.legacy.relay.KeyError()) }
	rows := outbox.NewPublisher(in.db, in.sealer, in.clock, a.relay.Wake)
	events := in.legacy.publisher(rows)
	if !a.owingOff {
		events = in.owing(events)
	}
	a.heartbeat = heartbeat.New(heartbeat.Deps{
		DB:      in.db,
		Clock:   in.clock,
		Role:    in.process.name(),
		Version: in.version,
		Note:    string(in.phase()),
		Report:  func(ctx context.Context) string { return a.report(ctx).String() },
		Log:     in.log,
	})
	a.started = in.clock.Now()
	a.watchStatus()
	a.progress = in.newProgress(events)
	if in.process&(inAPI|inStandalone) != 0 {
		a.assembleAPI(events)
	}
	if in.process&(inConsumer|inStandalone) != 0 {
		if err := a.assembleConsumer(events); err != nil {
			return nil, err
		}
	}
	return a, a.bind(ctx)
}

// progress is how far projects are. The api serves those who ask and watch, the consumer counts and sweeps.
type progress struct {
	deps    projects.Deps
	store   *progressredis.Store
	count   *projects.Counting
	updates *redispubsub.Publisher
	watcher *redispubsub.Subscriber
}

func (in *infra) newProgress(events event.Publisher) *progress {
	channels := in.cfg.Redis.ProgressChannels
	in.log.Info().Str("channels", channels).Msg("live progress is published; PROGRESS_CHANNELS has to match the WebSocket service")
	p := &progress{store: progressredis.New(in.state)}
	p.updates = redispubsub.NewPublisher(redispubsub.PublisherOptions{
		Client:   in.cache,
		Channels: redispubsub.Channels(channels),
		OnOutage: in.logOutage("live progress is not published"),
	})
	p.watcher = redispubsub.NewSubscriber(redispubsub.SubscriberOptions{
		Client:   in.cache,
		Reader:   p.store,
		OnOutage: in.logOutage("live progress is delayed"),
	})
	p.deps = projects.Deps{
		Tx:          in.tx,
		Clock:       in.clock,
		Progress:    p.store,
		Open:        p.store,
		Completions: projectsql.NewCompletions(in.db),
		Events:      events,
		Listener: batchCloser{invitations.NewCloser(invitations.CloserDeps{
			Batches:  invitationsql.NewBatches(in.db),
			Accounts: accountFinder{authsql.NewUsers(in.db)},
			Events:   events,
		})},
		Updates:  p.updates,
		Observer: &projectObserver{in.log, in.metrics},
	}
	p.count = projects.NewCounting(p.deps)
	return p
}

// assembleAPI builds what people and other services ask for over HTTP.
func (a *App) assembleAPI(events event.Publisher) {
	if a.passwords == nil {
		hasher := password.New()
		a.metrics.watchHashing(hasher.Load)
		a.passwords = a.legacy.passwords(hasher)
	}
	tokens := token.New(token.Options{
		Secret:   []byte(a.cfg.Secrets.JWT),
		Previous: []byte(a.cfg.Secrets.JWTPrevious),
		Clock:    a.clock,
	})
	lifecycle := subscriptions.NewLifecycle(subscriptions.LifecycleDeps{
		PastDueGrace:  a.cfg.Subscriptions.PastDueGrace,
		Tx:            a.tx,
		Clock:         a.clock,
		Subscriptions: subscriptionsql.NewSubscriptions(a.db),
		Plans:         subscriptionsql.NewPlans(a.db),
		Trials:        subscriptionsql.NewTrials(a.db),
		TrialKey:      subscription.TrialKey(a.cfg.Secrets.TrialDigest),
		Users:         userFinder{authsql.NewUsers(a.db)},
		Events:        events,
		Audit:         newRecorder(a.db, a.clock),
	})
	a.authentication = authentications.New(authentications.Deps{
		Tx:        a.tx,
		Users:     authsql.NewUsers(a.db),
		Requests:  a.legacy.requests(authsql.NewCodeRequests(a.db)),
		Guard:     a.newGuard(),
		Sessions:  a.legacy.sessions(authsql.NewSessions(a.db)),
		Passwords: a.passwords,
		Tokens:    tokens,
		Trials:    lifecycle,
		Events:    events,
		Audit:     newRecorder(a.db, a.clock),
		Clock:     a.clock,
		CodeKeys:  codeKeys(a.cfg.Secrets),

		PasswordRules: a.passwordRules(),
		SessionPolicy: authentication.SessionPolicy{Idle: a.cfg.Cookie.MaxAge, Remember: a.cfg.Cookie.MaxAgeRemember},
		Reused:        a.tokenReused,
	})
	accounts := administration(a.cfg, a.db, a.tx, a.clock, lifecycle, events)
	a.web, a.internal = a.newWeb(services{
		authentication: a.authentication,
		directory: authentications.NewDirectory(authentications.DirectoryDeps{
			Tx:    a.tx,
			Users: authsql.NewUsers(a.db),
			Audit: newRecorder(a.db, a.clock),
			Clock: a.clock,
		}),
		administration: accounts,
		deleter:        authentications.NewDeleter(accounts, a.newGuard(), a.passwords),
		audit:          audits.NewReader(auditsql.NewEntries(a.db)),
		invitations:    a.newInvitations(events),
		subscriptions:  lifecycle,
		plans: subscriptions.NewCatalog(subscriptions.CatalogDeps{
			Tx:    a.tx,
			Clock: a.clock,
			Plans: subscriptionsql.NewPlans(a.db),
			Audit: newRecorder(a.db, a.clock),
		}),
		reading:  projects.NewReading(projects.ReadingDeps{Progress: a.progress.store, Watcher: a.progress.watcher}),
		counting: a.progress.count,
		tokens:   tokens,
	})
}

// passwordRules returns the rules of new passwords.
func (in *infra) passwordRules() authentication.PasswordRules {
	return authentication.PasswordRules{MinChars: in.cfg.Accounts.MinPasswordChars}
}

// newGuard returns what limits tries at passwords and codes.
func (in *infra) newGuard() *authentications.Guard {
	return authentications.NewGuard(authentications.GuardDeps{
		Tx:      in.tx,
		Limits:  authsql.NewLimits(in.db),
		Clock:   in.clock,
		Keys:    codeKeys(in.cfg.Secrets),
		Users:   authsql.NewUsers(in.db),
		Audit:   newRecorder(in.db, in.clock),
		Refused: in.tryRefused,
	})
}

// newInvitations returns what the api does about invitations.
func (a *App) newInvitations(events event.Publisher) *invitations.UseCase {
	users := authsql.NewUsers(a.db)
	return invitations.New(invitations.Deps{
		Tx:            a.tx,
		LongTx:        a.longTx,
		Batches:       invitationsql.NewBatches(a.db),
		Invitations:   invitationsql.NewInvitations(a.db),
		Pace:          invitationsql.NewPace(a.db),
		Accounts:      authentications.NewInvited(users),
		Activator:     activator{a.authentication},
		Owners:        accountFinder{users},
		Passwords:     a.passwords,
		Events:        events,
		Audit:         newRecorder(a.db, a.clock),
		Outbox:        withdrawer{a.db},
		Progress:      batchProgress{a.progress.count, a.progress.store},
		Clock:         a.clock,
		TokenKeys:     codeKeys(a.cfg.Secrets),
		PerSecond:     a.cfg.Invitations.PerSecond,
		ParseEmail:    authentication.ParseEmail,
		CheckPassword: a.passwordRules().Check,
	})
}

// newMailer returns the connections to the mail server, of which nothing is opened yet, and says how they will be.
func (in *infra) newMailer() (*mailer.Mailer, error) {
	s := in.cfg.SMTP
	in.log.Info().Str("server", net.JoinHostPort(s.Host, strconv.Itoa(s.Port))).Str("tls", s.TLS).
		Bool("login", s.Username != "").Str("hello_name", s.HelloName).Int("connections", s.Connections).
		Msg("mails go to this server")
	for _, warning := range s.Warnings() {
		in.log.Warn().Str("problem", warning).Msg("a setting of the mail server is unlikely to work; check it")
	}
	return mailer.New(mailer.Options{
		Host:               s.Host,
		Port:               s.Port,
		Username:           s.Username,
		Password:           string(s.Password),
		TLS:                mailer.TLSMode(s.TLS),
		From:               s.From,
		FromName:           s.FromName,
		Timeout:            s.Timeout,
		HelloName:          s.HelloName,
		Connections:        s.Connections,
		MailsPerConnection: s.MailsPerConnection,
		Idle:               s.Idle,
	})
}

// closeMailer says goodbye to the mail server once ctx ends.
func (a *App) closeMailer(ctx context.Context) error {
	<-ctx.Done()
	a.mail.Close()
	return nil
}

// assembleConsumer builds what events ask for, and what looks after the rows they leave.
func (a *App) assembleConsumer(events event.Publisher) error {
	var err error
	if a.mail, err = a.newMailer(); err != nil {
		return err
	}
	_, domain, _ := strings.Cut(a.cfg.SMTP.From, "@")
	mails := notifications.New(notifications.Deps{
		Tx:            a.tx,
		Ledger:        mailsql.NewLedger(a.db),
		Mailer:        smtp.New(a.mail),
		Renderer:      a.renderer,
		Clock:         a.clock,
		Observer:      &mailObserver{a.log, a.metrics},
		Recipients:    a.recipientKey(),
		Lease:         mailLease,
		RenewEvery:    renewEvery,
		Domain:        domain,
		InvitationURL: a.cfg.Invitations.URL,
	})
	a.sweeper = projects.NewSweeper(a.progress.deps)
	a.repairer = a.newRepairer(a.progress)
	a.scheduler = a.newScheduler(events)
	a.consumer = a.newConsumer(a.consumers(handlers{
		codeMail: authentications.NewCodeMailSender(authentications.CodeMailSenderDeps{
			Tx:       a.db,
			Users:    authsql.NewUsers(a.db),
			Requests: authsql.NewCodeRequests(a.db),
			Mailer:   mails,
			Events:   events,
			Clock:    a.clock,
			CodeKeys: codeKeys(a.cfg.Secrets),
			Replaced: a.codeReplaced,
		}),
		notices: authentications.NewNoticeSender(authentications.NoticeSenderDeps{
			Notices: authsql.NewNotices(a.db),
			Mailer:  mails,
			Clock:   a.clock,
		}),
		invitationMail: invitations.NewMailSender(invitations.MailSenderDeps{
			Invitations: invitationsql.NewInvitations(a.db),
			Accounts:    accountFinder{authsql.NewUsers(a.db)},
			Mailer:      mails,
		}),
		mails:      mails,
		projection: a.newProjection(),
		counting:   a.progress.count,
		counted:    projectevents.CountItem(a.progress.count, a.itemMissed),
		shadow:     a.legacy.shadow(),
		unnamed:    a.legacy.unnamed(),
		written:    mails,
	}))
	a.health.consuming = a.consumer.Err
	a.health.lanes = a.lanes
	a.monitor = a.newEcho(nil, nil)
	a.health.register(a.monitor, detailed)
	a.registerMetrics(a.monitor)
	return nil
}

// newScheduler returns what does to subscriptions what time does.
func (in *infra) newScheduler(events event.Publisher) *subscriptions.Scheduler {
	grace := in.cfg.Subscriptions.PastDueGrace
	due := subscriptionsql.NewDue(in.db, grace)
	return subscriptions.NewScheduler(subscriptions.SchedulerDeps{
		Tx:           in.tx,
		Clock:        in.clock,
		Due:          due,
		Reminders:    due,
		Recipients:   recipientFinder{authsql.NewUsers(in.db)},
		Pace:         subscriptionsql.NewPace(in.db),
		Events:       events,
		Observer:     &schedulerObserver{in.log, in.metrics},
		PastDueGrace: grace,
	})
}

// schedule runs the scheduler, unless it is off.
func (a *App) schedule(ctx context.Context) error {
	if !a.cfg.Subscriptions.Scheduler {
		a.log.Info().Msg("SUBSCRIPTION_SCHEDULER is off: this process expires no subscription and sends no reminder")
		<-ctx.Done()
		return nil
	}
	return a.scheduler.Run(ctx)
}

// newProjection returns what keeps the subscription states in Redis.
func (in *infra) newProjection() *subscriptions.Projection {
	return subscriptions.NewProjection(subscriptions.ProjectionDeps{
		PastDueGrace:  in.cfg.Subscriptions.PastDueGrace,
		Clock:         in.clock,
		Subscriptions: subscriptionsql.NewSubscriptions(in.db),
		States:        subscriptionredis.New(in.state),
	})
}

// newRepairer returns what brings the progress of batches in line with the database.
func (in *infra) newRepairer(p *progress) *invitations.Repairer {
	return invitations.NewRepairer(invitations.RepairerDeps{
		Batches:     invitationsql.NewBatches(in.db),
		Invitations: invitationsql.NewInvitations(in.db),
		Mails:       mailOutcomes{mailsql.NewLedger(in.db)},
		Progress:    batchProgress{p.count, p.store},
		Clock:       in.clock,
		Every:       repairEvery,
		Failed:      in.logRepairFailure,
	})
}

// bind binds the process's ports as late as possible: a balancer that is let in waits, one that is refused goes
// elsewhere.
func (a *App) bind(ctx context.Context) (err error) {
	if a.web != nil {
		a.apiListener, err = a.listen(ctx, "APP_PORT", a.cfg.HTTP.AppPort, "api is serving")
	}
	if port := a.cfg.HTTP.InternalPort; a.web != nil && port != nil && err == nil {
		a.internalListener, err = a.listen(ctx, "INTERNAL_PORT", *port, "api is serving other services and operators")
	}
	if a.monitor != nil && err == nil {
		a.monitorListener, err = a.listen(ctx, "CONSUMER_PORT", a.cfg.HTTP.ConsumerPort, "consumer is running")
	}
	return err
}

// Authentication is what the api does for people who register and log in; nil in a consumer.
func (a *App) Authentication() *authentications.UseCase { return a.authentication }
