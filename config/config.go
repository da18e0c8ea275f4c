package config

import (
	"slices"
	"time"
)

// Role is a program, or a part of one, with needs of its own.
type Role string

// The roles.
const (
	API        Role = "api"
	Consumer   Role = "consumer"
	Standalone Role = "standalone" // api and consumer on embedded parts; needs nothing from its environment
	Migrate    Role = "migrate"    // commands of the api binary that only touch the database
)

// Config is every setting of the service, by section.
type Config struct {
	Service      Service
	Log          Log
	HTTP         HTTP
	Postgres     Postgres
	RabbitMQ     RabbitMQ
	Events       Events
	Redis        Redis
	SMTP         SMTP
	Secrets      Secrets
	Cookie       Cookie
	Email        Workers // of the queue identity.email, and of identity.legacy
	Subscription Workers // of the queue identity.subscription
	Project      Workers // of the queue identity.project
	Invitations  Invitations
	Embedded     Embedded
}

// Service is what concerns a program as a whole.
type Service struct {
	Env string // production, staging, development or test: a label for logs and traces
	// StartTimeout bounds how long a start waits for the database.
	StartTimeout time.Duration
	// DrainDelay is how long an api goes on serving after it has begun to answer "not ready".
	DrainDelay time.Duration
	// ShutdownTimeout bounds an orderly stop. Kubernetes kills 30 s after asking unless told otherwise.
	ShutdownTimeout time.Duration
	// OTLPEndpoint is the base URL of an OpenTelemetry collector (OTLP over HTTP); empty means traces are not exported.
	OTLPEndpoint string
}

// Log is what pkg/logger is made of.
type Log struct {
	Level  string // trace, debug, info, warn, error
	Format string // auto, json, pretty
}

// HTTP is where the servers listen. Port 0 takes any free one.
type HTTP struct {
	Host         string
	AppPort      int
	ConsumerPort int // health and metrics of the consumer
}

// Workers is how much of one queue a consumer takes on at a time.
type Workers struct {
	Count    int // handlers running at once
	Prefetch int // unacknowledged deliveries held, those being handled included; not less than Count
}

// Events is how far the service has left the previous release's fanout (docs/adr/0006). It is zero in the standalone,
// which nobody ever comes to from that release.
type Events struct {
	Phase         string // prepare, dual, cutover or complete: which copies of a mail are committed
	ConsumeLegacy bool   // whether the previous release's queue is read while it exists
}

// Invitations is how people are invited in bulk.
type Invitations struct {
	// PerSecond is how many mails of all batches together leave in a second; it is the same in every process.
	PerSecond int
	// URL is the front end's page that takes an invitation, with {token} where the token belongs. Empty: the mail shows
	// the token itself.
	URL string
}

// Embedded is what only the standalone has.
type Embedded struct {
	DataDir   string
	InboxPort int // page and API of the mailbox; 0 takes any free one
}

// Load reads what role uses from the environment. The error, if any, is a Problems.
//
// The standalone's secrets may be missing after Load: whoever starts it fills Config.Secrets and calls Validate.
func Load(role Role) (Config, error) {
	r := newReader(role)
	cfg := Config{
		Service: Service{
			Env:             r.oneOf("ENV", "production", "staging", "development", "test"),
			StartTimeout:    r.duration("START_TIMEOUT", 0, time.Hour),
			DrainDelay:      r.duration("DRAIN_DELAY", 0, time.Minute),
			ShutdownTimeout: r.duration("SHUTDOWN_TIMEOUT", time.Second, time.Hour),
			OTLPEndpoint:    r.text("OTEL_EXPORTER_OTLP_ENDPOINT"),
		},
		Log: Log{
			Level:  r.oneOf("LOGGER_LEVEL", "trace", "debug", "info", "warn", "error"),
			Format: r.oneOf("LOGGER_FORMAT", "auto", "json", "pretty"),
		},
		HTTP: HTTP{
			Host:         r.text("HOST"),
			AppPort:      r.integer("APP_PORT", 0, maxPort),
			ConsumerPort: r.integer("CONSUMER_PORT", 0, maxPort),
		},
		Postgres: readPostgres(r),
		RabbitMQ: RabbitMQ{URL: r.secret("RABBITMQ_URL"), ManagementURL: r.secret("RABBITMQ_MANAGEMENT_URL")},
		Events: Events{
			Phase:         r.oneOf("EVENTS_MIGRATION_PHASE", "prepare", "dual", "cutover", "complete"),
			ConsumeLegacy: r.oneOf("EVENTS_CONSUME_LEGACY", "on", "off") == "on",
		},
		Redis: readRedis(r),
		SMTP:  readSMTP(r),
		Secrets: Secrets{
			JWT:        r.secret("JWT_SECRET"),
			CodeHMAC:   r.key("CODE_HMAC_KEY"),
			EventsSeal: r.key("EVENTS_SEAL_KEY"),
			Internal:   r.secret("INTERNAL_KEY"),
		},
		Cookie:       readCookie(r),
		Email:        readWorkers(r, "EMAIL"),
		Subscription: readWorkers(r, "SUBSCRIPTION"),
		Project:      readWorkers(r, "PROJECT"),
		Invitations:  Invitations{PerSecond: r.integer("INVITATIONS_PER_SECOND", 1, 10_000), URL: r.text("INVITATION_URL")},
		Embedded: Embedded{
			DataDir:   r.text("DATA_DIR"),
			InboxPort: r.integer("INBOX_PORT", 0, maxPort),
		},
	}
	problems := slices.Concat(r.problems, cfg.problems())
	if role != Standalone {
		problems = append(problems, cfg.Secrets.missing()...)
	}
	if err := problems.of(role); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// Validate tells whether cfg is all that role needs, secrets included. The error is a Problems.
func (cfg Config) Validate(role Role) error {
	return append(cfg.problems(), cfg.Secrets.missing()...).of(role)
}

// problems is every rule but the presence of secrets. What concerns variables that a role does not use is dropped
// by Problems.of, so that every section can state its rules without knowing roles.
func (cfg Config) problems() Problems {
	var all Problems
	for _, section := range []interface{ Validate() Problems }{
		cfg.Service, cfg.HTTP, cfg.Postgres, cfg.RabbitMQ, cfg.Redis, cfg.SMTP, cfg.Secrets, cfg.Cookie, cfg.Invitations, cfg.Embedded,
	} {
		all = append(all, section.Validate()...)
	}
	all = append(all, cfg.Email.validate("EMAIL")...)
	all = append(all, cfg.Subscription.validate("SUBSCRIPTION")...)
	return append(all, cfg.Project.validate("PROJECT")...)
}
