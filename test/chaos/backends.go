package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/test/harness"
)

const emailQueue = "identity.email"

// node returns the name of the server that a broker's node has in the script: identity2@localhost is rabbitmq2.
func node(name string) string {
	n, _, _ := strings.Cut(strings.TrimPrefix(name, "identity"), "@")
	return "rabbitmq" + n
}

// killNode kills the node that leads the queue of mails, the one that a consumer is connected to, or two of the three.
func killNode(which string) func(context.Context, *run, *section) error {
	return func(ctx context.Context, r *run, s *section) error {
		var victims []string
		switch which {
		case "leader":
			var queue struct{ Node string } // where its leader is
			if err := harness.Manage(ctx, http.MethodGet, "/api/queues/"+r.VirtualHost+"/"+emailQueue, nil, &queue); err != nil {
				return err
			}
			victims = []string{node(queue.Node)}
		case "connected":
			var connections []struct {
				Node       string
				Properties struct {
					Name string `json:"connection_name"`
				} `json:"client_properties"`
			}
			if err := harness.Manage(ctx, http.MethodGet, "/api/vhosts/"+r.VirtualHost+"/connections", nil, &connections); err != nil {
				return err
			}
			for _, c := range connections {
				if strings.HasSuffix(c.Properties.Name, " "+emailQueue) {
					victims = []string{node(c.Node)}
				}
			}
		case "two":
			spared := r.draw(3) + 1
			for n := range 3 {
				if n+1 != spared {
					victims = append(victims, "rabbitmq"+strconv.Itoa(n+1))
				}
			}
		}
		if len(victims) == 0 {
			return errors.New("no node to kill was found")
		}
		s.notes = append(s.notes, strings.Join(victims, " and "))
		return r.servers.each(ctx, "kill", victims...)
	}
}

func restartNodes(ctx context.Context, r *run) error { return restartServers("rabbitmq")(ctx, r) }

// restartServers starts those of a kind that do not run.
func restartServers(kind string) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		for n := range kinds[kind] {
			if err := r.servers.each(ctx, "start", kind+strconv.Itoa(n+1)); err != nil {
				return err
			}
		}
		return nil
	}
}

// killMaster kills the Redis that takes writes: the Sentinels name the other one.
func killMaster(ctx context.Context, r *run, s *section) error {
	n, err := master(ctx)
	if err != nil {
		return err
	}
	s.notes = append(s.notes, "redis"+strconv.Itoa(n))
	return r.servers.each(ctx, "kill", "redis"+strconv.Itoa(n))
}

// master returns the number of the Redis that takes writes.
func master(ctx context.Context) (int, error) {
	for n := range kinds["redis"] {
		client := redis.NewClient(&redis.Options{
			Addr: net.JoinHostPort("127.0.0.1", port("redis", n+1)), Password: os.Getenv("REDIS_PASSWORD"),
		})
		info, err := client.Info(ctx, "replication").Result()
		_ = client.Close()
		if err == nil && strings.Contains(info, "role:master") {
			return n + 1, nil
		}
	}
	return 0, errors.New("there is no master of Redis")
}

// primary returns the number of the PostgreSQL that takes writes.
func primary(ctx context.Context) (int, error) {
	for n := range kinds["postgres"] {
		db, err := sql.Open("pgx", database(n+1, os.Getenv("POSTGRES_DB")))
		if err != nil {
			return 0, err
		}
		standby := true
		err = db.QueryRowContext(ctx, "SELECT pg_is_in_recovery()").Scan(&standby)
		_ = db.Close()
		if err == nil && !standby {
			return n + 1, nil
		}
	}
	return 0, errors.New("there is no primary of PostgreSQL")
}

func killPrimary(ctx context.Context, r *run, s *section) error {
	n, err := primary(ctx)
	if err != nil {
		return err
	}
	name := "postgres" + strconv.Itoa(n)
	s.notes = append(s.notes, name)
	return r.servers.each(ctx, "kill", name)
}

func promoteStandby(ctx context.Context, r *run, s *section) error {
	if err := killPrimary(ctx, r, s); err != nil {
		return err
	}
	return r.servers.call(ctx, "promote")
}

// alarm has every node refuse messages for want of memory.
func alarm(ctx context.Context, r *run, _ *section) error {
	return r.onNodes(ctx, "set_vm_memory_high_watermark", "absolute", "1")
}

func calm(ctx context.Context, r *run) error {
	return r.onNodes(ctx, "set_vm_memory_high_watermark", "0.6") // deployments/rabbitmq.conf
}

func (r *run) onNodes(ctx context.Context, args ...string) error {
	for n := range kinds["rabbitmq"] {
		if err := r.servers.call(ctx, append([]string{"rabbitmqctl", strconv.Itoa(n + 1)}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// still waits until no message is under way, while nobody comes.
func (r *run) still(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	return harness.Eventually(ctx, func() error {
		n, err := r.Count(ctx, `SELECT (SELECT count(*) FROM outbox) +
			(SELECT count(*) FROM mail_deliveries WHERE state IN ('owed', 'sending'))`)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d mails are under way", n)
		}
		return err
	})
}

// quietly calls do while the crowd rests, no registration or upload is under way and no message is: what is in a queue when it
// is deleted is gone.
func (r *run) quietly(ctx context.Context, do func() error) error {
	r.crowd.asking.Lock()
	defer r.crowd.asking.Unlock()
	if err := r.still(ctx); err != nil {
		return err
	}
	return do()
}

func deleteQueue(ctx context.Context, r *run, _ *section) error {
	return r.quietly(ctx, func() error {
		return r.OnBroker(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(emailQueue, false, false, false)
			return err
		})
	})
}

func deleteVirtualHost(ctx context.Context, r *run, _ *section) error {
	return r.quietly(ctx, func() error {
		return harness.Manage(ctx, http.MethodDelete, "/api/vhosts/"+r.VirtualHost, nil, nil)
	})
}

func createVirtualHost(ctx context.Context, r *run) error {
	return errors.Join(harness.Manage(ctx, http.MethodPut, "/api/vhosts/"+r.VirtualHost, nil, nil), permitAgain(ctx, r))
}

// permit lets the service configure, write and read only what matches.
func permit(pattern string) func(context.Context, *run, *section) error {
	return func(ctx context.Context, r *run, _ *section) error {
		broker, err := url.Parse(firstOf(r.BrokerURL))
		if err != nil {
			return errors.New("the broker's URL cannot be read")
		}
		rights := map[string]string{"configure": pattern, "write": pattern, "read": pattern}
		path := "/api/permissions/" + r.VirtualHost + "/" + url.PathEscape(broker.User.Username())
		return harness.Manage(ctx, http.MethodPut, path, rights, nil)
	}
}

func permitAgain(ctx context.Context, r *run) error { return permit(".*")(ctx, r, nil) }

// fillQueue kills the consumers, which would empty it, and has the queue of mails refuse whatever comes beyond one message.
func fillQueue(ctx context.Context, r *run, _ *section) error {
	err := harness.Manage(ctx, http.MethodPut, "/api/policies/"+r.VirtualHost+"/full", map[string]any{
		"pattern": "^identity\\.email$", "apply-to": "queues", "priority": 1,
		"definition": map[string]any{"max-length": 1, "overflow": "reject-publish"},
	}, nil)
	for _, p := range r.Consumers {
		err = errors.Join(err, p.Kill())
	}
	return err
}

func emptyQueue(ctx context.Context, r *run) error {
	return errors.Join(
		harness.Manage(ctx, http.MethodDelete, "/api/policies/"+r.VirtualHost+"/full", nil, nil), restartProcesses(ctx, r))
}
