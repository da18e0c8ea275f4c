package harness

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/config"
)

// required are the variables of .stack/env, or .stack/cluster/env, that the harness itself reads.
var required = []string{
	"POSTGRES_HOST", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_SSLMODE",
	"RABBITMQ_URL", "RABBITMQ_MANAGEMENT_URL", "REDIS_PASSWORD",
}

func checkEnvironment() error {
	for _, name := range required {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set: this needs the stack; run make stack-up and . .stack/env", name)
		}
	}
	return nil
}

// uniqueName is a name for something on a shared server.
func uniqueName() string { return "system_" + strings.ReplaceAll(uuid.NewString(), "-", "") }

// createDatabase creates an empty database and opens it.
func (s *System) createDatabase(ctx context.Context) error {
	server, err := sql.Open("pgx", PostgresURL(os.Getenv("POSTGRES_DB")))
	if err != nil {
		return err
	}
	s.onClose(server.Close)
	s.Database = uniqueName()
	if _, err := server.ExecContext(ctx, "CREATE DATABASE "+s.Database); err != nil {
		return err
	}
	s.onClose(func() error {
		_, err := server.ExecContext(context.Background(), "DROP DATABASE "+s.Database+" WITH (FORCE)")
		return err
	})
	if s.DB, err = sql.Open("pgx", PostgresURL(s.Database)); err != nil {
		return err
	}
	s.DB.SetMaxOpenConns(4)
	s.onClose(s.DB.Close)
	return nil
}

// PostgresURL returns the URL of a database on the stack's server, on the cluster's that takes writes.
func PostgresURL(database string) string {
	port, _ := strconv.Atoi(os.Getenv("POSTGRES_PORT")) // not set in the cluster, where each host has its own
	return config.Postgres{
		Host: os.Getenv("POSTGRES_HOST"), Port: port,
		User: os.Getenv("POSTGRES_USER"), Password: config.Secret(os.Getenv("POSTGRES_PASSWORD")),
		Database: database, SSLMode: os.Getenv("POSTGRES_SSLMODE"),
	}.DSN()
}

// NeighbourQueue is the arguments of another service's queue: none, in the cluster those that survive the loss of a node.
func NeighbourQueue() amqp.Table {
	if clustered() {
		return amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	}
	return nil
}

// createVirtualHost creates a virtual host in which the stack's user may do everything.
func (s *System) createVirtualHost(ctx context.Context) error {
	var nodes []string
	var user string
	s.VirtualHost = uniqueName()
	for node := range strings.SplitSeq(os.Getenv("RABBITMQ_URL"), ",") {
		broker, err := url.Parse(node)
		if err != nil {
			return errors.New("RABBITMQ_URL is not a URL") // the parser's error quotes the password
		}
		broker.Path = "/" + s.VirtualHost
		nodes = append(nodes, broker.String())
		user = url.PathEscape(broker.User.Username())
	}
	s.BrokerURL = strings.Join(nodes, ",")
	if err := Manage(ctx, http.MethodPut, "/api/vhosts/"+s.VirtualHost, nil, nil); err != nil {
		return err
	}
	s.onClose(func() error {
		onBroker.Lock()
		defer onBroker.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		return Eventually(ctx, func() error {
			return Manage(ctx, http.MethodDelete, "/api/vhosts/"+s.VirtualHost, nil, nil)
		})
	})
	everything := map[string]string{"configure": ".*", "write": ".*", "read": ".*"}
	return Manage(ctx, http.MethodPut, "/api/permissions/"+s.VirtualHost+"/"+user, everything, nil)
}

// ErrNotFound is the 404 of RabbitMQ's management API.
var ErrNotFound = errors.New("not found")

// Manage calls RabbitMQ's management API, in the cluster that of any node that runs, and decodes the response into out,
// unless that is nil.
func Manage(ctx context.Context, method, path string, in, out any) (err error) {
	for base := range strings.SplitSeq(os.Getenv("RABBITMQ_MANAGEMENT_URL"), ",") {
		err = manage(ctx, method, base+path, in, out)
		if _, unreachable := errors.AsType[*net.OpError](err); !unreachable {
			return err
		}
	}
	return err
}

func manage(ctx context.Context, method, url string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	// The URL holds the credentials; net/http turns them into the Authorization header.
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := direct.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotFound:
		return ErrNotFound
	case response.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("RabbitMQ's management API: %s %s: %s", method, request.URL.Path, response.Status)
	case out == nil:
		return nil
	}
	return json.NewDecoder(response.Body).Decode(out)
}

// claimRedis opens an empty Redis database that belongs to this System alone: projects of two systems in one database
// would be announced by whichever sees them first.
func (s *System) claimRedis(ctx context.Context) error {
	open := func(db int) *redis.Client {
		client := openRedis(db)
		s.onClose(client.Close)
		return client
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	server := open(0)
	var db int
	var lease string
	err := Eventually(ctx, func() (err error) {
		db, lease, err = leaseRedis(ctx, server)
		return err
	})
	if err != nil {
		return err
	}
	s.Redis = open(db)
	s.onClose(func() error {
		ctx := context.Background()
		return errors.Join(s.Redis.FlushDB(ctx).Err(), server.Del(ctx, lease).Err())
	})
	return s.Redis.FlushDB(ctx).Err()
}

// openRedis opens a database of the stack's server, of the cluster's that Sentinels name.
func openRedis(db int) *redis.Client {
	if sentinels := os.Getenv("REDIS_SENTINEL_ADDRS"); sentinels != "" {
		return redis.NewFailoverClient(&redis.FailoverOptions{
			SentinelAddrs: strings.Split(sentinels, ","), MasterName: os.Getenv("REDIS_SENTINEL_MASTER"),
			SentinelPassword: os.Getenv("REDIS_SENTINEL_PASSWORD"), Password: os.Getenv("REDIS_PASSWORD"), DB: db,
		})
	}
	address := net.JoinHostPort(os.Getenv("REDIS_HOST"), os.Getenv("REDIS_PORT"))
	return redis.NewClient(&redis.Options{Addr: address, Password: os.Getenv("REDIS_PASSWORD"), DB: db})
}

// leaseRedis leases a database that is neither the cache nor the stack's own state. The lease is a key with the
// holder's process id, so that the lease of a killed process is free again.
func leaseRedis(ctx context.Context, server *redis.Client) (db int, lease string, err error) {
	const first, last = 2, 15
	for db := first; db <= last; db++ {
		lease := fmt.Sprintf("system:state:%d", db)
		free, err := server.SetNX(ctx, lease, os.Getpid(), 0).Result()
		if err != nil || free {
			return db, lease, err
		}
		holder, err := server.Get(ctx, lease).Int()
		if err == nil && errors.Is(syscall.Kill(holder, 0), syscall.ESRCH) {
			err = server.Del(ctx, lease).Err() // for the next attempt
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, "", err
		}
	}
	return 0, "", errors.New("all Redis databases are leased to other systems")
}
