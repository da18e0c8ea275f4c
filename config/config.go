package config

import (
	"net/netip"
	"slices"
	"time"
)

// Role is a program, or a part of one, with settings of its own.
type Role string

// The roles.
const (
	API        Role = "api"
	Consumer   Role = "consumer"
	Standalone Role = "standalone" // api and consumer on embedded parts; requires nothing from its environment
	Migrate    Role = "migrate"    // commands of the api binary that only touch the database
	Support    Role = "support"    // those that look for a person's mails as well
	Resend     Role = "resend"     // those that have a mail sent, or change accounts and say so
)

// Config has every setting of the service, by section.
type Config struct {
	Service       Service
	Log           Log
	HTTP          HTTP
	Postgres      Postgres
	RabbitMQ      RabbitMQ
	Events        Events
	Redis         Redis
	SMTP          SMTP
	Secrets       Secrets
	Cookie        Cookie
	Console       Console
	Email         Workers // of the queue identity.email, and of identity.legacy
	Invitation    Workers // of the queue identity.invitation
	Subscription  Workers // of the queue identity.subscription
	Project       Workers // of the queue identity.project
	Invitations   Invitations
	Accounts      Accounts
	Subscriptions Subscriptions
	Embedded      Embedded
}

// Service has the settings of a program as a whole.
type Service struct {
	// Env is production, staging, development or test: a label for logs and traces. It decides HTTP.LocalOrigins, and what
	// is refused (production.go).
	Env string
	// StartTimeout is how long a start waits for the database.
	StartTimeout time.Duration
	// DrainDelay is how long a process keeps serving once /ready responds 503. It is part of ShutdownTimeout.
	DrainDelay time.Duration
	// ShutdownTimeout bounds an orderly stop. Kubernetes kills a pod 30 s after asking it to stop unless configured
	// otherwise.
	ShutdownTimeout time.Duration
	// OTLPEndpoint is the base URL of an OpenTelemetry collector (OTLP over HTTP). When it is empty, traces are not
	// exported.
	OTLPEndpoint string
}

// Log has the options of pkg/logger.
type Log struct {
	Level  string // trace, debug, info, warn, error
	Format string // auto, json, pretty
}

// HTTP is where the servers listen, and whom they believe. Port 0 picks a free one.
type HTTP struct {
	Host         string
	AppPort      int
	ConsumerPort int // health and metrics of the consumer
	// InternalPort is where the api serves other services, metrics and the details of health, and AppPort does not. nil:
	// AppPort serves them as well.
	InternalPort *int

	Origins      []string // other origins whose pages may call, as browsers write them
	LocalOrigins bool     // pages of this machine may call, from any port: while Origins is empty in development and test
	// Proxies are those whose X-Forwarded headers count.
	Proxies []netip.Prefix
}

// Workers is how many messages of one queue a consumer handles at a time.
type Workers struct {
	Count    int // handlers running at once
	Prefetch int // unacked deliveries held, those being handled included; at least Count
}

// Events is how far the migration from the previous release's fanout has come (docs/adr/0006). It is zero in the
// standalone, which never takes over from that release.
type Events struct {
	Phase         string // prepare, dual, cutover or complete: which copies of a mail are committed
	ConsumeLegacy bool   // whether the previous release's queue is read while it exists
}

// Invitations has the settings of bulk invitations.
type Invitations struct {
	// PerSecond is how many mails of all batches together are sent in a second. Set it to the same in every process.
	PerSecond int
	// URL is the front end's page that accepts an invitation, with {token} in the place of the token. When it is empty,
	// the mail shows the token itself.
	URL string
}

// Accounts has the rules of accounts.
type Accounts struct {
	// MinPasswordChars is how many characters a new password has at least.
	MinPasswordChars int
	// UnverifiedKeptFor is how long a user is kept who has registered and never proven the address.
	UnverifiedKeptFor time.Duration
	// EraseAfter is the time from the deletion of an account to the erasure of its data.
	EraseAfter time.Duration
	// AuditDetailsFor is how long the record of who did what keeps addresses, clients and reasons.
	AuditDetailsFor time.Duration
}

// Subscriptions has the rules of subscriptions.
type Subscriptions struct {
	// PastDueGrace is how long a subscription that became past due without an end stays in force. Set it to the same in
	// every process.
	PastDueGrace time.Duration
	Scheduler    bool // whether this process expires subscriptions and reminds of the end of trials
}

// Console is the operations console of a consumer. Its token is in [Secrets].
type Console struct {
	Addr     string   // host:port to listen on; empty: there is no console
	Hosts    []string // names that it is asked for by, apart from addresses and localhost
	ReadOnly bool     // it shows everything and changes nothing
}

// Embedded has the settings that only the standalone uses.
type Embedded struct {
	DataDir   string
	InboxPort int // page and API of the mailbox; 0 picks a free one
	// Public has other machines reach the console, /dev and the inbox as well, where HOST lets them.
	Public bool
}

// Load reads the variables of role from the environment. Its error is a [Problems].
//
// The standalone's secrets may be missing after Load: its starter fills Config.Secrets and calls [Config.Validate].
func Load(role Role) (Config, error) {
	r := newReader(role)
	cfg := Config{
		Service: Service{
			Env:             readEnv(r),
			StartTimeout:    r.duration("START_TIMEOUT", 0, time.Hour),
			DrainDelay:      r.duration("DRAIN_DELAY", 0, time.Minute),
			ShutdownTimeout: r.duration("SHUTDOWN_TIMEOUT", time.Second, time.Hour),
			OTLPEndpoint:    r.text("OTEL_EXPORTER_OTLP_ENDPOINT"),
		},
		Log: Log{
			Level:  r.oneOf("LOGGER_LEVEL", "trace", "debug", "info", "warn", "error"),
			Format: r.oneOf("LOGGER_FORMAT", "auto", "json", "pretty"),
		},
		HTTP:     readHTTP(r),
		Postgres: readPostgres(r),
		RabbitMQ: readRabbitMQ(r),
		Events: Events{
			Phase:         r.oneOf("EVENTS_MIGRATION_PHASE", "prepare", "dual", "cutover", "complete"),
			ConsumeLegacy: r.oneOf("EVENTS_CONSUME_LEGACY", "on", "off") == "on",
		},
		Redis: readRedis(r),
		SMTP:  readSMTP(r),
		Secrets: Secrets{
			JWT:         r.secret("JWT_SECRET"),
			CodeHMAC:    r.key("CODE_HMAC_KEY"),
			EventsSeal:  r.key("EVENTS_SEAL_KEY"),
			TrialDigest: r.key("TRIAL_DIGEST_KEY"),
			Internal:    r.secret("INTERNAL_KEY"),
			Console:     r.secret("CONSOLE_TOKEN"),

			JWTPrevious:        r.secret("JWT_SECRET_PREVIOUS"),
			CodeHMACPrevious:   r.key("CODE_HMAC_KEY_PREVIOUS"),
			EventsSealPrevious: r.key("EVENTS_SEAL_KEY_PREVIOUS"),
			InternalPrevious:   r.secret("INTERNAL_KEY_PREVIOUS"),
		},
		Cookie: readCookie(r),
		Console: Console{
			Addr:     r.text("CONSOLE_ADDR"),
			Hosts:    r.list("CONSOLE_HOSTS"),
			ReadOnly: r.boolean("CONSOLE_READONLY"),
		},
		Email:        readWorkers(r, "EMAIL"),
		Invitation:   readWorkers(r, "INVITATION"),
		Subscription: readWorkers(r, "SUBSCRIPTION"),
		Project:      readWorkers(r, "PROJECT"),
		Invitations:  Invitations{PerSecond: r.integer("INVITATIONS_PER_SECOND", 1, 10_000), URL: r.text("INVITATION_URL")},
		Accounts: Accounts{
			MinPasswordChars:  r.integer("PASSWORD_MIN_LENGTH", 8, 64),
			UnverifiedKeptFor: r.duration("UNVERIFIED_KEPT_FOR", 24*time.Hour, 366*24*time.Hour),
			EraseAfter:        r.duration("ERASE_AFTER", 0, 366*24*time.Hour),
			AuditDetailsFor:   r.duration("AUDIT_DETAILS_FOR", 24*time.Hour, 3660*24*time.Hour),
		},
		Subscriptions: Subscriptions{
			PastDueGrace: r.duration("PAST_DUE_GRACE", 0, 366*24*time.Hour),
			Scheduler:    readScheduler(r),
		},
		Embedded: Embedded{
			DataDir:   r.text("DATA_DIR"),
			InboxPort: r.integer("INBOX_PORT", 0, maxPort),
			Public:    r.boolean("STANDALONE_PUBLIC"),
		},
	}
	allowSpace := r.boolean("ALLOW_SECRET_WHITESPACE")
	problems := slices.Concat(r.problems, cfg.problems())
	if !allowSpace {
		problems = append(problems, cfg.endsInSpace()...)
	}
	if role != Standalone {
		problems = append(problems, cfg.Secrets.missing()...)
	}
	if err := problems.of(role); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// Validate reports what role needs and cfg lacks, secrets included. Its error is a [Problems].
func (cfg Config) Validate(role Role) error {
	return append(cfg.problems(), cfg.Secrets.missing()...).of(role)
}

// problems returns the broken rules of every section but for missing secrets. Problems.of drops those about variables
// that a role does not use, so that sections state their rules without knowing roles.
func (cfg Config) problems() Problems {
	return slices.Concat(
		cfg.Service.Validate(), cfg.HTTP.Validate(), cfg.Postgres.Validate(), cfg.RabbitMQ.Validate(),
		cfg.Redis.Validate(), cfg.SMTP.Validate(), cfg.Secrets.Validate(), cfg.Cookie.Validate(),
		cfg.Invitations.Validate(), cfg.Embedded.Validate(), cfg.Console.Validate(cfg.Secrets.Console),
		cfg.Email.validate("EMAIL"), cfg.Invitation.validate("INVITATION"),
		cfg.Subscription.validate("SUBSCRIPTION"), cfg.Project.validate("PROJECT"),
		cfg.public(),
		cfg.production(),
	)
}
