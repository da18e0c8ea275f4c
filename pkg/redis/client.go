// Package redis builds go-redis clients with every timeout explicit ([Open]), and checks whether a server can keep
// state ([Check]). It knows no key.
//
// It does not promise that Redis is available: Open does not connect, and while the server is unavailable every command
// fails within its timeouts.
package redis

import (
	"cmp"
	"crypto/tls"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options of a client. Zero values take the defaults in brackets. go-redis's own defaults never decide how long a
// caller waits: they changed in 9.22.
type Options struct {
	Addr     string // host:port; not used with Sentinels
	Username string // empty: the default user
	Password string // empty: none
	TLS      bool   // certificates are verified against the host of Addr, with Sentinels against the host of each connection
	DB       int
	// Sentinels are host:port of those that say where the server is. Master is what they call it.
	Sentinels        []string
	Master           string
	SentinelPassword string // empty: none
	// Retries is how often a command is sent again after a network error. [0] means never, unlike in go-redis, where 0
	// means 3 and −1 never (redis/go-redis#2339). The first one may have been executed, so allow retries only for
	// commands that may be executed twice.
	Retries      int
	DialTimeout  time.Duration // [1 s]
	ReadTimeout  time.Duration // [1 s]
	WriteTimeout time.Duration // [1 s]
	PoolTimeout  time.Duration // [1 s] waiting for a free connection
	PoolSize     int           // [10] connections at most
}

// Open returns a client that connects with its first command. The caller closes it. A context's deadline ends a command
// early and costs its connection, which is cheaper than a request that waits for a stopped server.
//
// With Sentinels every connection goes to the server that they name at that time. Those to a server that was replaced are
// closed.
func Open(o Options) *redis.Client {
	var client *redis.Client
	if len(o.Sentinels) > 0 {
		client = redis.NewFailoverClient(o.failover())
	} else {
		client = redis.NewClient(o.direct())
	}
	client.AddHook(spans{})
	return client
}

// direct returns go-redis's options of a client of one server.
func (o Options) direct() *redis.Options {
	retries := o.Retries
	if retries <= 0 {
		retries = -1
	}
	size := cmp.Or(o.PoolSize, 10)
	var encryption *tls.Config
	if o.TLS {
		host, _, _ := net.SplitHostPort(o.Addr) // empty with Sentinels: that of each connection
		encryption = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	}
	return &redis.Options{
		Addr:       o.Addr,
		Username:   o.Username,
		Password:   o.Password,
		TLSConfig:  encryption,
		DB:         o.DB,
		MaxRetries: retries,
		// One dial per try: with the default of five, a command would wait for all of them while the server is unavailable.
		DialerRetries:         1,
		DialTimeout:           cmp.Or(o.DialTimeout, time.Second),
		ReadTimeout:           cmp.Or(o.ReadTimeout, time.Second),
		WriteTimeout:          cmp.Or(o.WriteTimeout, time.Second),
		PoolTimeout:           cmp.Or(o.PoolTimeout, time.Second),
		ContextTimeoutEnabled: true,
		PoolSize:              size,
		MaxActiveConns:        size,
		// A pipeline needs no connections beside the pool's.
		PipelinePoolSize: -1,
		// Redis 7.0 refuses CLIENT SETINFO and CLIENT MAINT_NOTIFICATIONS on every connection, and nothing here needs them.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// failover returns the same for a server that Sentinels name.
func (o Options) failover() *redis.FailoverOptions {
	o.Addr = ""
	d := o.direct()
	return &redis.FailoverOptions{
		MasterName:       o.Master,
		SentinelAddrs:    slices.Clone(o.Sentinels), // it changes them
		SentinelPassword: o.SentinelPassword,

		Username:              d.Username,
		Password:              d.Password,
		TLSConfig:             d.TLSConfig,
		DB:                    d.DB,
		MaxRetries:            d.MaxRetries,
		DialerRetries:         d.DialerRetries,
		DialTimeout:           d.DialTimeout,
		ReadTimeout:           d.ReadTimeout,
		WriteTimeout:          d.WriteTimeout,
		PoolTimeout:           d.PoolTimeout,
		ContextTimeoutEnabled: d.ContextTimeoutEnabled,
		PoolSize:              d.PoolSize,
		MaxActiveConns:        d.MaxActiveConns,
		PipelinePoolSize:      d.PipelinePoolSize,
		DisableIdentity:       d.DisableIdentity,
	}
}
