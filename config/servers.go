package config

import (
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Postgres is the database of api and consumer.
type Postgres struct {
	Host     string // name, address, or the folder of a Unix socket; or several of one cluster: HOST or HOST:PORT, commas between
	Port     int    // of every host without one
	User     string
	Password Secret
	Database string
	SSLMode  string // as libpq knows them: disable, allow, prefer, require, verify-ca, verify-full
	MaxConns int    // per process
	ExecMode string // cached: statements are prepared once per connection; exec: never, for a pooler in transaction mode

	AutoMigrate bool // serve brings the schema up to date first
}

func readPostgres(r *reader) Postgres {
	return Postgres{
		Host:        unbracketed(r.text("POSTGRES_HOST")),
		Port:        r.integer("POSTGRES_PORT", 1, maxPort),
		User:        r.text("POSTGRES_USER"),
		Password:    r.secret("POSTGRES_PASSWORD"),
		Database:    r.text("POSTGRES_DB"),
		SSLMode:     r.oneOf("POSTGRES_SSLMODE", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
		MaxConns:    r.integer("POSTGRES_MAX_CONNS", 2, 1000),
		ExecMode:    r.oneOf("POSTGRES_EXEC_MODE", "cached", "exec"),
		AutoMigrate: r.boolean("DB_AUTO_MIGRATE"),
	}
}

// Validate checks what is needed to connect.
func (p Postgres) Validate() Problems {
	return check(
		isSet(p.Host, "POSTGRES_HOST", "set it to the host name of the PostgreSQL server"),
		rule{!strings.Contains(p.Host, "://"), "POSTGRES_HOST", "is a URL", "set it to the host name alone"},
		p.hostRule(),
		isSet(p.User, "POSTGRES_USER", "set it to the name the service logs in with"),
		isSet(string(p.Password), "POSTGRES_PASSWORD", "set it to that user's password"),
		isSet(p.Database, "POSTGRES_DB", "set it to the name of the database"),
	)
}

func (p Postgres) hostRule() rule {
	const variable = "POSTGRES_HOST"
	hosts := splitHosts(p.Host)
	if len(hosts) < 2 {
		return rule{
			isHostAlone(p.Host) || strings.HasPrefix(p.Host, "/"),
			variable, "is not a host name", "set it to one host name alone, the port goes to POSTGRES_PORT",
		}
	}
	const fix = "set it to HOST,HOST, each with :PORT where it is not POSTGRES_PORT"
	for i, h := range hosts {
		if _, _, ok := hostPort(h, p.Port); !ok {
			return rule{false, variable, "has an entry that is not HOST or HOST:PORT", fix}
		}
		if slices.Contains(hosts[:i], h) {
			return rule{false, variable, "names a host twice", fix}
		}
	}
	return rule{holds: true}
}

// DSN returns the connection URL, password included: never log it. Of several hosts it asks for the one that takes
// writes.
func (p Postgres) DSN() string {
	query := url.Values{"sslmode": {p.SSLMode}}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(p.User, string(p.Password)), Path: "/" + p.Database}
	switch hosts := splitHosts(p.Host); {
	case len(hosts) > 1:
		ports := make([]string, len(hosts))
		for i, h := range hosts {
			host, port, _ := hostPort(h, p.Port)
			hosts[i], ports[i] = host, strconv.Itoa(port)
		}
		query.Set("host", strings.Join(hosts, ","))
		query.Set("port", strings.Join(ports, ","))
		query.Set("target_session_attrs", "read-write")
	case strings.HasPrefix(p.Host, "/"):
		query.Set("host", p.Host)
		query.Set("port", strconv.Itoa(p.Port))
	default:
		u.Host = net.JoinHostPort(strings.Trim(p.Host, "[]"), strconv.Itoa(p.Port))
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// RabbitMQ is the broker of api (which publishes) and consumer.
type RabbitMQ struct {
	URL Secret // amqp:// or amqps://, with user and password; of several nodes each is complete, commas between
	// ManagementURL is the HTTP API, with user and password, or that of several nodes. Empty means URL's hosts and
	// credentials on its default port (15672, with TLS 15671).
	ManagementURL Secret
}

func readRabbitMQ(r *reader) RabbitMQ {
	return RabbitMQ{
		URL:           completeNodes(r.secret("RABBITMQ_URL"), "amqp", "amqps"),
		ManagementURL: completeNodes(r.secret("RABBITMQ_MANAGEMENT_URL"), "http", "https"),
	}
}

// unbracketed returns an IPv6 address without the brackets that it has in URLs. Anything else, with a port behind it for
// example, stays as it is.
func unbracketed(host string) string {
	inner, ok := strings.CutPrefix(host, "[")
	if inner, closed := strings.CutSuffix(inner, "]"); ok && closed && strings.Contains(inner, ":") && isHostAlone(inner) {
		return inner
	}
	return host
}

// isHostAlone reports whether host is one name or address, without port, user or brackets, and no list of several.
func isHostAlone(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || !strings.ContainsAny(host, ":,/@[] \t\r\n")
}

// Validate checks the form of the URLs.
func (m RabbitMQ) Validate() Problems {
	const fix = "set it to amqp://USER:PASSWORD@HOST:5672/ (amqps:// with TLS; reserved characters %-escaped)"
	rules := []rule{
		isSet(string(m.URL), "RABBITMQ_URL", fix),
		nodesRule(m.URL, "RABBITMQ_URL", "an AMQP URL", fix, "amqp", "amqps"),
	}
	if m.ManagementURL != "" {
		rules = append(rules, nodesRule(m.ManagementURL, "RABBITMQ_MANAGEMENT_URL", "an HTTP URL",
			"set it to http://USER:PASSWORD@HOST:15672 (reserved characters %-escaped), or unset it", "http", "https"))
	}
	return check(rules...)
}

// Redis is the shared state, and what may be lost, on one server: Host, or the one that Sentinels name.
type Redis struct {
	Host     string // a name, or name:port as other services write it
	Port     int    // used when Host has none
	Username string // optional
	Password Secret // optional

	Sentinels        []string // HOST:PORT each; Host is not set then
	SentinelMaster   string   // what the Sentinels call the server
	SentinelPassword Secret   // optional; that of the Sentinels themselves

	TLS     bool
	StateDB int // progress of projects and states of subscriptions
	CacheDB int // nothing is stored there: its client publishes and reads live progress (pub/sub)
	// ProgressChannels are those that live progress is published on: project, user_noti or both.
	ProgressChannels string
}

// readRedis ignores REDIS_PORT when the host has a port: beside a service called redis, Kubernetes sets a REDIS_PORT of
// another form (tcp://…) in every pod.
func readRedis(r *reader) Redis {
	redis := Redis{
		Host:     unbracketed(r.text("REDIS_HOST")),
		Username: r.text("REDIS_USERNAME"),
		Password: r.secret("REDIS_PASSWORD"),
		TLS:      r.boolean("REDIS_TLS"),

		SentinelMaster:   r.text("REDIS_SENTINEL_MASTER"),
		SentinelPassword: r.secret("REDIS_SENTINEL_PASSWORD"),

		StateDB: r.integer("REDIS_STATE_DB", 0, 65535),
		CacheDB: r.integer("REDIS_CACHE_DB", 0, 65535),

		ProgressChannels: r.oneOf("PROGRESS_CHANNELS", "project", "user_noti", "both"),
	}
	for _, entry := range splitHosts(r.text("REDIS_SENTINEL_ADDRS")) {
		if host, port, ok := hostPort(entry, sentinelPort); ok {
			entry = net.JoinHostPort(host, strconv.Itoa(port))
		}
		redis.Sentinels = append(redis.Sentinels, entry)
	}
	if _, _, err := net.SplitHostPort(redis.Host); err != nil && redis.Sentinels == nil {
		redis.Port = r.integer("REDIS_PORT", 1, maxPort)
	}
	return redis
}

// sentinelPort is where Sentinels listen unless they are told otherwise.
const sentinelPort = 26379

// Validate checks what is needed to connect.
func (r Redis) Validate() Problems {
	const fix = "set it to the host name of the Redis server, or to HOST:PORT"
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	n, convErr := strconv.ParseUint(port, 10, 16)
	if r.Sentinels != nil || r.SentinelMaster != "" {
		return r.validateSentinels()
	}
	return check(
		isSet(r.Host, "REDIS_HOST", fix+"; or REDIS_SENTINEL_ADDRS and REDIS_SENTINEL_MASTER to the Sentinels that know it"),
		rule{!strings.Contains(r.Host, "://"), "REDIS_HOST", "is a URL", fix},
		rule{host != "" && isHostAlone(host), "REDIS_HOST", "is not one host name", fix},
		rule{
			err != nil || convErr == nil && n > 0,
			"REDIS_HOST", "has a port that is not a number from 1 to 65535", fix,
		},
		r.passwordRule(),
	)
}

func (r Redis) passwordRule() rule {
	return rule{
		r.Username == "" || r.Password != "",
		"REDIS_PASSWORD", "is not set although REDIS_USERNAME is",
		"set it, or unset REDIS_USERNAME: without a password nobody is logged in, and the default user is used",
	}
}

func (r Redis) validateSentinels() Problems {
	const fix = "set it to HOST:PORT of each Sentinel, commas between"
	form, twice := true, false
	for i, s := range r.Sentinels {
		_, _, ok := hostPort(s, sentinelPort)
		form = form && ok
		twice = twice || slices.Contains(r.Sentinels[:i], s)
	}
	return check(
		rule{
			r.Host == "",
			"REDIS_HOST", "is set although Sentinels name the server",
			"unset it, or unset REDIS_SENTINEL_ADDRS and REDIS_SENTINEL_MASTER",
		},
		rule{r.Sentinels != nil, "REDIS_SENTINEL_ADDRS", "is not set", fix},
		rule{form, "REDIS_SENTINEL_ADDRS", "has an entry that is not HOST:PORT", fix},
		rule{!twice, "REDIS_SENTINEL_ADDRS", "names a Sentinel twice", fix},
		isSet(r.SentinelMaster, "REDIS_SENTINEL_MASTER", "set it to the name behind `sentinel monitor` in their configuration"),
		rule{
			!strings.ContainsFunc(r.SentinelMaster, unicode.IsSpace),
			"REDIS_SENTINEL_MASTER", "has white space", "set it to the one name behind `sentinel monitor`",
		},
		r.passwordRule(),
	)
}

// Addr returns host:port. A port in Host takes precedence over Port.
func (r Redis) Addr() string {
	if _, _, err := net.SplitHostPort(r.Host); err == nil {
		return r.Host
	}
	return net.JoinHostPort(strings.Trim(r.Host, "[]"), strconv.Itoa(r.Port))
}

// SMTP is the server that sends the mail, and its sender.
type SMTP struct {
	Host     string
	Port     int // the standalone listens here itself: 0 takes any free one
	TLS      string
	Username string // optional, only together with Password
	Password Secret
	From     string // one bare address
	FromName string // optional
	Timeout  time.Duration
	// HelloName is what the service calls itself in EHLO.
	HelloName          string
	Connections        int // per process, to the mail server
	MailsPerConnection int
	Idle               time.Duration // how long an unused connection is kept
}

// implicitTLS is the port on which a mail server expects TLS from the first byte (RFC 8314 §3.3).
const implicitTLS = 465

// Warnings returns what can be meant but hardly works, a sentence for each.
func (s SMTP) Warnings() (found []string) {
	warn := func(is bool, sentence string) {
		if is {
			found = append(found, sentence)
		}
	}
	remote := !isLoopback(s.Host)
	warn(s.Port == implicitTLS && s.TLS != "tls",
		"SMTP_TLS is "+s.TLS+" although servers expect TLS from the first byte on port 465: unset it, or use another port")
	warn((s.Port == 25 || s.Port == 587) && s.TLS == "tls",
		"SMTP_TLS is tls although servers begin in clear on ports 25 and 587: unset it, or use port 465")
	warn(remote && s.TLS == "none",
		"SMTP_TLS is none: codes cross the network in clear; unset it where the server offers STARTTLS")
	warn(remote && !strings.Contains(s.HelloName, "."),
		"SMTP_HELLO_NAME is not a full domain name: many servers refuse such mails; set it to one that resolves")
	return found
}

// readSMTP points the standalone to its own inbox, on loopback and without TLS.
func readSMTP(r *reader) SMTP {
	lowestPort := 1
	if r.role == Standalone {
		lowestPort = 0
	}
	smtp := SMTP{
		Host:               unbracketed(r.text("SMTP_HOST")),
		Port:               r.integer("SMTP_PORT", lowestPort, maxPort),
		Username:           r.text("SMTP_USERNAME"),
		Password:           r.secret("SMTP_PASSWORD"),
		From:               r.text("SMTP_FROM"),
		FromName:           r.text("SMTP_FROM_NAME"),
		Timeout:            r.duration("SMTP_TIMEOUT", time.Second, 5*time.Minute),
		HelloName:          r.text("SMTP_HELLO_NAME"),
		Connections:        r.integer("SMTP_CONNECTIONS", 2, 1000),
		MailsPerConnection: r.integer("SMTP_MAILS_PER_CONNECTION", 1, 10_000),
		Idle:               r.duration("SMTP_IDLE", time.Second, 5*time.Minute),
	}
	if smtp.HelloName == "" {
		_, smtp.HelloName, _ = strings.Cut(smtp.From, "@")
	}
	switch {
	case r.role == Standalone:
		smtp.Host, smtp.TLS = "127.0.0.1", "none"
	case !r.role.uses("SMTP_TLS"):
	case r.text("SMTP_TLS") != "":
		smtp.TLS = r.oneOf("SMTP_TLS", "none", "opportunistic", "starttls", "tls")
	case smtp.Port == implicitTLS:
		smtp.TLS = "tls"
	default:
		smtp.TLS = "starttls"
	}
	return smtp
}

// Validate checks what is needed to send.
func (s SMTP) Validate() Problems {
	from, err := mail.ParseAddress(s.From)
	return check(
		isSet(s.Host, "SMTP_HOST", "set it to the host name of the mail server"),
		rule{
			isHostAlone(s.Host),
			"SMTP_HOST", "is not a host name", "set it to one host name alone, the port goes to SMTP_PORT",
		},
		isSet(s.From, "SMTP_FROM", "set it to the address the mails come from"),
		rule{
			err == nil && from.Address == s.From && isASCII(s.From),
			"SMTP_FROM", "is not one bare ASCII address",
			"set it to one like no-reply@example.com; the name goes to SMTP_FROM_NAME",
		},
		rule{
			!strings.ContainsFunc(s.FromName, unicode.IsControl),
			"SMTP_FROM_NAME", "has a line break or control character", "set it to one line of text",
		},
		rule{
			isASCII(s.HelloName),
			"SMTP_HELLO_NAME", "is not a host name", "set it to one like mail.example.com, or unset it",
		},
		rule{
			s.Username == "" || s.Password != "",
			"SMTP_PASSWORD", "is not set although SMTP_USERNAME is", "set both or neither",
		},
		rule{
			s.Username != "" || s.Password == "",
			"SMTP_USERNAME", "is not set although SMTP_PASSWORD is", "set both or neither",
		},
		rule{
			s.Username == "" || s.TLS != "none" || isLoopback(s.Host),
			"SMTP_TLS", "is none although SMTP_USERNAME is set",
			"set it to starttls or tls: a password is not sent over a network in clear",
		},
	)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
