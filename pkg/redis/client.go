// Package redis is the one place that builds go-redis clients, with every timeout said aloud, and looks at how a
// server is set up. It knows no key.
//
// It does not promise that Redis is there: Open does not connect, and every command of a client fails within its
// timeouts while the server is gone.
package redis

import (
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options of a client. Zero values take the defaults in brackets. go-redis's own defaults are never used for what
// decides how long a caller waits: they changed in 9.22.
type Options struct {
	Addr     string // host:port
	Password string // empty: none
	DB       int
	// Retries is how often a command is sent again after a network error: [0] never, unlike in go-redis, where 0
	// means 3 and −1 means never (redis/go-redis#2339). The first one may have been carried out, so allow retries
	// only for commands that may be carried out twice.
	Retries      int
	DialTimeout  time.Duration // [1 s]
	ReadTimeout  time.Duration // [1 s]
	WriteTimeout time.Duration // [1 s]
	PoolTimeout  time.Duration // [1 s] waiting for a free connection
	PoolSize     int           // [10] connections at most
}

// Open prepares a client; it connects with its first command. The caller closes it. A context's deadline ends a
// command early and costs its connection, which is cheaper than a request that waits on a stopped server.
func Open(o Options) *redis.Client {
	retries := o.Retries
	if retries <= 0 {
		retries = -1
	}
	size := orDefault(o.PoolSize, 10)
	return redis.NewClient(&redis.Options{
		Addr: o.Addr, Password: o.Password, DB: o.DB,
		MaxRetries: retries,
		// One dial per try: five, as is the default, would make a command on an absent server wait for all of them.
		DialerRetries:         1,
		DialTimeout:           orDefault(o.DialTimeout, time.Second),
		ReadTimeout:           orDefault(o.ReadTimeout, time.Second),
		WriteTimeout:          orDefault(o.WriteTimeout, time.Second),
		PoolTimeout:           orDefault(o.PoolTimeout, time.Second),
		ContextTimeoutEnabled: true,
		PoolSize:              size,
		MaxActiveConns:        size,
		// A pipeline needs no connections beside the pool's.
		PipelinePoolSize: -1,
		// CLIENT SETINFO and CLIENT MAINT_NOTIFICATIONS on every connection are refused by Redis 7.0 and say nothing
		// anybody here reads.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}
