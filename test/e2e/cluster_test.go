//go:build e2e && cluster

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestCluster loses servers of a cluster (make test-cluster), one after the other, while people come. No process of ours
// is started again.
func TestCluster(t *testing.T) {
	t.Run("a node of RabbitMQ: that of the queue's leader, then that of a connection, then one that is frozen", loseNodes)
	t.Run("two nodes of RabbitMQ of three", loseQuorum)
	t.Run("the primary of PostgreSQL, killed and then frozen", losePrimary)
	t.Run("the master of Redis, as planned and killed", loseMaster)
}

const crowdPerSecond = 4

// startCluster starts two processes of each kind, in a cluster that is whole again afterwards.
func startCluster(t *testing.T) (*harness.TestSystem, *eventRecorder) {
	t.Helper()
	require.NotEmpty(t, os.Getenv("CLUSTER_RUN"), "this needs the cluster: make test-cluster")
	t.Cleanup(func() { require.NoError(t, harness.Repair(context.WithoutCancel(t.Context()))) })
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	return s, recordEvents(t, s)
}

// serverOf returns the server that is a node of RabbitMQ: identity2@localhost is rabbitmq2.
func serverOf(node string) harness.Server {
	return harness.Server(strings.Replace(strings.TrimSuffix(node, "@localhost"), "identity", "rabbitmq", 1))
}

// leader returns the node that leads a queue.
func leader(t *testing.T, s *harness.TestSystem, queue string) (server harness.Server) {
	t.Helper()
	harness.Soon(t, func() error {
		var q struct {
			Leader string `json:"leader"`
		}
		if err := harness.Manage(t.Context(), http.MethodGet, "/api/queues/"+s.VirtualHost+"/"+queue, nil, &q); err != nil {
			return err
		}
		if server = serverOf(q.Leader); q.Leader == "" {
			return errors.New("no leader yet")
		}
		return nil
	})
	return server
}

// connectedTo returns a node that a connection of this name goes to.
func connectedTo(t *testing.T, s *harness.TestSystem, name string) (server harness.Server) {
	t.Helper()
	harness.Soon(t, func() error {
		var connections []struct {
			Node       string `json:"node"`
			Properties struct {
				Name string `json:"connection_name"`
			} `json:"client_properties"`
		}
		if err := harness.Manage(t.Context(), http.MethodGet, "/api/vhosts/"+s.VirtualHost+"/connections", nil, &connections); err != nil {
			return err
		}
		for _, c := range connections {
			if c.Properties.Name == name && c.Node != "" {
				server = serverOf(c.Node)
				return nil
			}
		}
		return fmt.Errorf("no connection %s among %d", name, len(connections))
	})
	return server
}

// recovery runs fault, and logs how long it takes until more people have verified.
func recovery(t *testing.T, c *crowd, what string, fault func()) {
	t.Helper()
	fault()
	began := time.Now()
	c.waitVerified(2 * crowdPerSecond)
	t.Logf("%s: %d more people have verified after %s", what, 2*crowdPerSecond, time.Since(began).Round(100*time.Millisecond))
}

func loseNodes(t *testing.T) {
	s, recorded := startCluster(t)
	c := startCrowd(t, s, crowdPerSecond)
	c.waitVerified(crowdPerSecond)
	ctx := context.WithoutCancel(t.Context())

	victim := leader(t, s, emailQueue)
	recovery(t, c, string(victim)+", which leads identity.email, is killed", func() { require.NoError(t, victim.Kill(ctx)) })
	require.NoError(t, victim.Restart(ctx))

	victim = connectedTo(t, s, "identity-api-publisher")
	recovery(t, c, string(victim)+", to which an api publishes, is killed", func() { require.NoError(t, victim.Kill(ctx)) })
	require.NoError(t, victim.Restart(ctx))

	victim = connectedTo(t, s, "identity-consumer identity.email")
	recovery(t, c, string(victim)+", to which a consumer is connected, is frozen", func() { require.NoError(t, victim.Stop(ctx)) })
	require.NoError(t, victim.Continue(ctx))

	c.waitVerified(crowdPerSecond)
	c.finish()
	require.Zero(t, c.serverErrors(), "people notice nothing of it")
	c.check(t, s, recorded, 3)
	allHealthy(t, s)
}

// loseQuorum: what is published without a quorum is unknown, stays in the outbox, and is delivered once the nodes are
// back.
func loseQuorum(t *testing.T) {
	s, recorded := startCluster(t)
	c := startCrowd(t, s, crowdPerSecond)
	c.waitVerified(crowdPerSecond)
	c.finish()
	ctx := context.WithoutCancel(t.Context())

	require.NoError(t, harness.Server("rabbitmq2").Kill(ctx))
	require.NoError(t, harness.Server("rabbitmq3").Kill(ctx))
	killed := time.Now()
	var people []*person
	for range 5 {
		people = append(people, register(t, s))
	}
	// For longer than a confirm may take.
	for time.Since(killed) < 15*time.Second {
		for _, p := range people {
			rows := s.Count("SELECT count(*) FROM outbox WHERE event_id = $1", mailEvent(t, s, p))
			require.Equal(t, 1, rows, "published without a quorum, and taken for confirmed")
			require.Empty(t, s.Mailbox.All(p.email))
		}
		wait(t, time.Second)
	}
	harness.Soon(t, func() error { // a process that has tried to publish says so
		for _, p := range s.APIs {
			if status, _, err := p.Get(t.Context(), "/health/rabbitmq"); err == nil && status == http.StatusServiceUnavailable {
				return nil
			}
		}
		return errors.New("every api says that RabbitMQ is healthy")
	})
	people = append(people, register(t, s))

	require.NoError(t, harness.Server("rabbitmq2").Restart(ctx))
	back := time.Now()
	for _, p := range people {
		p.readMail(t, s)
		p.verify(t)
	}
	t.Logf("all mails have come %s after the second of three nodes was back", time.Since(back).Round(100*time.Millisecond))
	require.NoError(t, harness.Server("rabbitmq3").Restart(ctx))
	for _, p := range people {
		c.visitors = append(c.visitors, &visitor{email: p.email, code: p.code, register: done, verify: done})
	}
	c.check(t, s, recorded, 0)
	allHealthy(t, s)
}

func losePrimary(t *testing.T) {
	s, recorded := startCluster(t)
	c := startCrowd(t, s, crowdPerSecond)
	c.waitVerified(crowdPerSecond)
	ctx := context.WithoutCancel(t.Context())
	primary, standby := harness.Server("postgres1"), harness.Server("postgres2")
	var recovering bool
	require.NoError(t, s.DB.QueryRowContext(ctx, "SELECT current_setting('port') = $1", os.Getenv("CLUSTER_POSTGRES2_PORT")).Scan(&recovering))
	if recovering {
		primary, standby = standby, primary
	}

	recovery(t, c, "the primary is killed, the standby promoted", func() {
		require.NoError(t, primary.Kill(ctx))
		require.NoError(t, harness.Promote(ctx))
	})
	require.NoError(t, primary.Restart(ctx)) // as a standby of the other one
	primary = standby

	recovery(t, c, "the primary is frozen, the standby promoted", func() {
		require.NoError(t, primary.Stop(ctx))
		require.NoError(t, harness.Promote(ctx))
	})
	require.NoError(t, primary.Continue(ctx)) // it takes itself for the primary, and no connection of ours goes to it
	c.waitVerified(2 * crowdPerSecond)
	late := register(t, s)
	for _, hosts := range []string{os.Getenv("POSTGRES_HOST"), reversed(os.Getenv("POSTGRES_HOST"))} { // nor one of a new process
		out := s.Command([]string{"POSTGRES_HOST=" + hosts}, harness.API, "user", "show", late.email)
		require.Zero(t, out.Code, "%s", out.Stderr)
	}
	late.readMail(t, s)
	late.verify(t)
	require.NoError(t, primary.Kill(ctx))
	require.NoError(t, primary.Restart(ctx))
	c.waitVerified(crowdPerSecond)
	c.finish()
	c.visitors = append(c.visitors, &visitor{email: late.email, code: late.code, register: done, verify: done})
	t.Logf("%d people met an error", c.serverErrors())
	c.check(t, s, recorded, 2)
	allHealthy(t, s)
}

// reversed returns a comma-separated list of two the other way round.
func reversed(list string) string {
	first, second, _ := strings.Cut(list, ",")
	return second + "," + first
}

// marking counts items of a project, one after the other, as a service does: each is repeated until it has been counted.
type marking struct {
	project string
	counted int
	stop    func()
}

func startMarking(t *testing.T, s *harness.TestSystem, owner string) *marking {
	t.Helper()
	m := &marking{project: "proj_" + uuid.NewString()}
	call := func(ctx context.Context, path string, body any) error {
		_, err := harness.Expect(http.StatusOK)(s.Client().Call(ctx, http.MethodPost, "/internal/projects/"+m.project+path, body,
			"X-Internal-Key", os.Getenv("INTERNAL_KEY")))
		return err
	}
	require.NoError(t, call(t.Context(), "", map[string]any{"user_id": owner, "total": 1_000_000}))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			items := map[string]any{"items": []any{map[string]any{"item_id": fmt.Sprint(m.counted)}}}
			if err := harness.Eventually(t.Context(), func() error { return call(t.Context(), "/items", items) }); err != nil {
				t.Errorf("an item cannot be counted: %v", err)
				return
			}
			m.counted++
		}
	})
	m.stop = func() { cancel(); running.Wait() }
	t.Cleanup(m.stop)
	return m
}

// loseMaster fails over as the runbook plans it, which loses nothing, and by killing the master, after which what is lost
// is written again from the database.
func loseMaster(t *testing.T) {
	s, recorded := startCluster(t)
	owner := verified(t, s)
	c := startCrowd(t, s, crowdPerSecond)
	c.waitVerified(crowdPerSecond)
	ctx := context.WithoutCancel(t.Context())

	m := startMarking(t, s, owner.id)
	wait(t, time.Second)
	began := time.Now()
	failOver(t)
	t.Logf("planned failover took %s", time.Since(began).Round(100*time.Millisecond))
	wait(t, 2*time.Second)
	m.stop()
	harness.Soon(t, func() error {
		hash, err := s.Redis.HGetAll(ctx, projectKey(m.project)).Result()
		if err == nil && hash["done"] != fmt.Sprint(m.counted) {
			err = fmt.Errorf("counted %d, and Redis has %s", m.counted, hash["done"])
		}
		return err
	})
	t.Logf("%d items were counted, and are there", m.counted)

	before := masterOf(t)
	recovery(t, c, string(before)+", the master of Redis, is killed", func() { require.NoError(t, before.Kill(ctx)) })
	harness.Soon(t, func() error { return s.Redis.Set(ctx, "probe", 1, time.Minute).Err() })
	otherMaster(t, before)
	require.NoError(t, before.Restart(ctx))
	c.waitVerified(crowdPerSecond)
	c.finish()
	require.Zero(t, c.serverErrors(), "Redis is not on the way of a registration")
	out := s.Command(nil, harness.Consumer, "state", "rebuild")
	require.Zero(t, out.Code, "%s", out.Stderr)
	c.visitors = append(c.visitors, &visitor{email: owner.email, code: owner.code, register: done, verify: done})
	c.check(t, s, recorded, 0)
	allHealthy(t, s)
}

// sentinel is the first Sentinel.
func sentinel(t *testing.T) *redis.SentinelClient {
	t.Helper()
	address, _, _ := strings.Cut(os.Getenv("REDIS_SENTINEL_ADDRS"), ",")
	c := redis.NewSentinelClient(&redis.Options{Addr: address, Password: os.Getenv("REDIS_SENTINEL_PASSWORD")})
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// masterOf returns the server that the Sentinels name.
func masterOf(t *testing.T) harness.Server {
	t.Helper()
	address, err := sentinel(t).GetMasterAddrByName(t.Context(), os.Getenv("REDIS_SENTINEL_MASTER")).Result()
	require.NoError(t, err)
	if address[1] == os.Getenv("CLUSTER_REDIS1_PORT") {
		return "redis1"
	}
	return "redis2"
}

// failOver is the planned failover of docs/redis-runbook.md: writes are paused, the replica has everything, and then takes
// over.
func failOver(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	ports := map[harness.Server]string{"redis1": os.Getenv("CLUSTER_REDIS1_PORT"), "redis2": os.Getenv("CLUSTER_REDIS2_PORT")}
	before := masterOf(t)
	direct := func(port string) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, Password: os.Getenv("REDIS_PASSWORD")})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		return c
	}
	master := direct(ports[before])
	delete(ports, before)
	require.NoError(t, master.Do(ctx, "CLIENT", "PAUSE", 10_000, "WRITE").Err())
	for _, port := range ports {
		replica := direct(port)
		harness.Soon(t, func() error {
			have, err := offset(ctx, replica, "slave_repl_offset")
			wanted, err2 := offset(ctx, master, "master_repl_offset")
			if err := errors.Join(err, err2); err != nil || have == wanted {
				return err
			}
			return fmt.Errorf("the replica is at %s, the master at %s", have, wanted)
		})
	}
	require.NoError(t, sentinel(t).Failover(ctx, os.Getenv("REDIS_SENTINEL_MASTER")).Err())
	otherMaster(t, before)
}

// otherMaster waits until the Sentinels name another master than before.
func otherMaster(t *testing.T, before harness.Server) {
	t.Helper()
	harness.Soon(t, func() error {
		if masterOf(t) == before {
			return fmt.Errorf("the Sentinels still name %s as the master", before)
		}
		return nil
	})
}

// offset returns a line of INFO replication.
func offset(ctx context.Context, c *redis.Client, name string) (string, error) {
	info, err := c.Info(ctx, "replication").Result()
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", err
}
