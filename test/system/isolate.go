package system

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
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// variable answers what .stack/env says.
func variable(tb testing.TB, name string) string {
	tb.Helper()
	value := os.Getenv(name)
	require.NotEmpty(tb, value, "%s is not set: this needs the stack; run make test-integration, or . .stack/env", name)
	return value
}

// uniqueName is a name for something on a shared server.
func uniqueName() string { return "system_" + strings.ReplaceAll(uuid.NewString(), "-", "") }

// newDatabase creates an empty database, and drops it after the test.
func newDatabase(tb testing.TB) (name string, db *sql.DB) {
	tb.Helper()
	name = uniqueName()
	onServer := func(statement string) error {
		server, err := sql.Open("pgx", postgresURL(tb, variable(tb, "POSTGRES_DB")))
		if err != nil {
			return err
		}
		_, err = server.ExecContext(context.Background(), statement)
		return errors.Join(err, server.Close())
	}
	require.NoError(tb, onServer("CREATE DATABASE "+name))
	tb.Cleanup(func() { require.NoError(tb, onServer("DROP DATABASE "+name+" WITH (FORCE)")) })
	db, err := sql.Open("pgx", postgresURL(tb, name))
	require.NoError(tb, err)
	db.SetMaxOpenConns(4)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return name, db
}

func postgresURL(tb testing.TB, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(variable(tb, "POSTGRES_USER"), variable(tb, "POSTGRES_PASSWORD")),
		Host: variable(tb, "POSTGRES_HOST") + ":" + variable(tb, "POSTGRES_PORT"), Path: "/" + database,
		RawQuery: url.Values{"sslmode": {variable(tb, "POSTGRES_SSLMODE")}}.Encode(),
	}
	return u.String()
}

// newVirtualHost creates a virtual host whose user may do all there, and deletes it after the test. It answers its
// AMQP URL.
func newVirtualHost(tb testing.TB) string {
	tb.Helper()
	name := uniqueName()
	broker, err := url.Parse(variable(tb, "RABBITMQ_URL"))
	require.NoError(tb, err)
	require.NoError(tb, manage(tb, http.MethodPut, "/api/vhosts/"+name, nil, nil))
	tb.Cleanup(func() { require.NoError(tb, manage(tb, http.MethodDelete, "/api/vhosts/"+name, nil, nil)) })
	require.NoError(tb, manage(tb, http.MethodPut, "/api/permissions/"+name+"/"+url.PathEscape(broker.User.Username()),
		map[string]string{"configure": ".*", "write": ".*", "read": ".*"}, nil))
	broker.Path = "/" + name
	return broker.String()
}

// CutConnections has the broker cut every connection to the virtual host that it knows of, and answers their names.
// It learns of a new one within some seconds.
func (s *System) CutConnections() (cut []string) {
	s.tb.Helper()
	var connections []struct {
		Name       string `json:"name"`
		Properties struct {
			Name string `json:"connection_name"`
		} `json:"client_properties"`
	}
	require.NoError(s.tb, manage(s.tb, http.MethodGet, "/api/vhosts/"+s.virtualHost()+"/connections", nil, &connections))
	for _, c := range connections {
		err := manage(s.tb, http.MethodDelete, "/api/connections/"+url.PathEscape(c.Name), nil, nil)
		if !errors.Is(err, errNotFound) { // it may have gone by itself
			require.NoError(s.tb, err)
		}
		cut = append(cut, c.Properties.Name)
	}
	return cut
}

// Queue is how full a queue of the virtual host is, and who consumes it.
type Queue struct {
	Name      string `json:"name"`
	Messages  int    `json:"messages"` // those that somebody is handling included
	Consumers int    `json:"consumers"`
}

// Queues answers every queue of the virtual host, as the broker's statistics have it: up to 5 s late.
func (s *System) Queues() (queues []Queue, err error) {
	s.tb.Helper()
	err = manage(s.tb, http.MethodGet, "/api/queues/"+s.virtualHost(), nil, &queues)
	return queues, err
}

// errNotFound is RabbitMQ's 404.
var errNotFound = errors.New("not found")

// manage asks RabbitMQ's management API; what it answers goes to answer, unless that is nil.
func manage(tb testing.TB, method, path string, body, answer any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	// The base has the credentials; net/http turns them into the Authorization header.
	request, err := http.NewRequestWithContext(context.Background(), method, variable(tb, "RABBITMQ_MANAGEMENT_URL")+path, bytes.NewReader(raw))
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
		return errNotFound
	case response.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("RabbitMQ's management API: %s %s: %s", method, path, response.Status)
	case answer == nil:
		return nil
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

// newState opens a database of Redis that is the test's own, empties it, and does so again after the test. Projects of
// two systems in one database would be announced by whoever sees them first.
func newState(tb testing.TB) *redis.Client {
	tb.Helper()
	ctx := context.Background()
	address := net.JoinHostPort(variable(tb, "REDIS_HOST"), variable(tb, "REDIS_PORT"))
	open := func(db int) *redis.Client {
		return redis.NewClient(&redis.Options{Addr: address, Password: variable(tb, "REDIS_PASSWORD"), DB: db})
	}
	server := open(0)
	db, lease := 0, ""
	Soon(tb, func() (err error) { db, lease, err = leaseState(ctx, server); return err })
	client := open(db)
	require.NoError(tb, client.FlushDB(ctx).Err())
	tb.Cleanup(func() {
		require.NoError(tb, errors.Join(client.FlushDB(ctx).Err(), server.Del(ctx, lease).Err(), client.Close(), server.Close()))
	})
	return client
}

// leaseState takes one of the databases that are neither the cache nor the stack's own state, by a key with the process
// id of who has it: what a test program that was killed has left is free again.
func leaseState(ctx context.Context, server *redis.Client) (db int, lease string, err error) {
	const first, last = 2, 15
	me := os.Getpid()
	for db := first; db <= last; db++ {
		lease := fmt.Sprintf("system:state:%d", db)
		free, err := server.SetNX(ctx, lease, me, 0).Result()
		if err != nil || free {
			return db, lease, err
		}
		holder, err := server.Get(ctx, lease).Int()
		if err == nil && errors.Is(syscall.Kill(holder, 0), syscall.ESRCH) {
			err = server.Del(ctx, lease).Err() // for the next look
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, "", err
		}
	}
	return 0, "", errors.New("all databases of redis are taken by other systems")
}
