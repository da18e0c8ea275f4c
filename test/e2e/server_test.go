//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// The tests of this file break servers that everything on the stack shares: none of them runs beside another test.

// healthAnswer is how long /health/* and /ready may take at most: two seconds of looking, and what a busy machine adds.
const healthAnswer = 5 * time.Second

// says checks what a process answers to a probe, and that it does not take long.
func says(t *testing.T, p *harness.Process, path string, status int, word string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healthAnswer)
	defer cancel()
	have, body, err := p.Get(ctx, path)
	require.NoError(t, err, "%s %s", p.Name, path)
	require.Equal(t, status, have, "%s %s: %s", p.Name, path, body)
	require.Contains(t, body, word, "%s %s", p.Name, path)
}

// comesToSay is says, once it has been noticed; noticing has a bound too.
func comesToSay(t *testing.T, p *harness.Process, path string, status int, word string, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	require.NoError(t, harness.Eventually(ctx, func() error {
		have, body, err := p.Get(ctx, path)
		if err == nil && (have != status || !strings.Contains(body, word)) {
			err = fmt.Errorf("%s %s: %d %s", p.Name, path, have, body)
		}
		return err
	}))
	says(t, p, path, status, word)
}

// allWell checks that every probe of every process says so.
func allWell(t *testing.T, s *harness.TestSystem) {
	t.Helper()
	for _, p := range s.Processes() {
		comesToSay(t, p, "/health", http.StatusOK, `"data":{"status":"healthy"`, harness.Patience)
		comesToSay(t, p, "/ready", http.StatusOK, `"data":{"status":"ready"`, harness.Patience)
		says(t, p, "/live", http.StatusOK, "alive")
		says(t, p, "/health/redis", http.StatusOK, `"healthy"`)
		says(t, p, "/health/rabbitmq", http.StatusOK, `"exchange":"smap.events","type":"topic","durable":true`)
	}
}

// worksWithout checks the probes of the apis while the broker or Redis is away: ready all the same, and honest.
func worksWithout(t *testing.T, s *harness.TestSystem, away string) {
	t.Helper()
	for _, p := range s.APIs {
		comesToSay(t, p, "/health/"+away, http.StatusServiceUnavailable, `"unhealthy"`, healthAnswer)
		says(t, p, "/live", http.StatusOK, "alive")
		says(t, p, "/ready", http.StatusOK, `"`+away+`":{"status":"unhealthy"`)
		says(t, p, "/health", http.StatusOK, "degraded")
	}
}

// TestRabbitMQ breaks the broker. None of its tests runs beside another.
func TestRabbitMQ(t *testing.T) {
	t.Run("killed", killRabbitMQ)
	t.Run("frozen", stopRabbitMQ)
	t.Run("out of memory", alarmRabbitMQ)
	t.Run("out of memory beside a consumer of the previous release", alarmBesideOldConsumer)
	t.Run("killed under load", killRabbitMQUnderLoad)
}

// killRabbitMQ kills the broker for a day.
func killRabbitMQ(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	allWell(t, s)
	neighbour := recordEvents(t, s)
	day := newDay(t, s)
	harness.Inject(t, harness.RabbitMQ.Kill)
	day.goesOn(t, s)
	worksWithout(t, s, "rabbitmq")
	for _, p := range s.Consumers {
		comesToSay(t, p, "/ready", http.StatusServiceUnavailable, "not ready", healthAnswer)
		says(t, p, "/live", http.StatusOK, "alive")
	}
	codesLieSealed(t, s, day, func() { require.NoError(t, harness.RabbitMQ.Restart(t.Context())) })
	day.catchesUp(t, s)
	allWell(t, s)
	toldOnce(t, s, neighbour)
}

// codesLieSealed looks at the database while mails wait in the outbox, and knows what to look for once they came.
func codesLieSealed(t *testing.T, s *harness.TestSystem, d *day, end func()) {
	t.Helper()
	require.GreaterOrEqual(t, s.Count("SELECT count(*) FROM outbox WHERE sealed"), len(d.registered))
	before := dump(t, s)
	end()
	for _, p := range d.registered {
		p.readMail(t, s)
		hidesCode(t, before, p.code)
	}
}

// toldOnce checks that every fact in the database is an event, and the other way round.
func toldOnce(t *testing.T, s *harness.TestSystem, n *eventRecorder) {
	t.Helper()
	for key, query := range map[string]string{
		"email.verification.requested": "SELECT id FROM users",
		"subscription.created":         "SELECT user_id FROM subscriptions",
	} {
		harness.Soon(t, func() error {
			facts, events := column(t, s, query), map[string]string{}
			for _, e := range n.events(key) {
				var data struct {
					UserID string `json:"user_id"`
				}
				if err := e.data(&data); err != nil {
					return err
				}
				if id := events[data.UserID]; id != "" && id != e.EventID {
					return fmt.Errorf("%s of %s has two ids: %s and %s", key, data.UserID, id, e.EventID)
				}
				events[data.UserID] = e.EventID
			}
			for user := range facts {
				if events[user] == "" {
					return fmt.Errorf("%s of %s has not come", key, user)
				}
			}
			if len(events) != len(facts) {
				return fmt.Errorf("%s: %d users have events, %d rows", key, len(events), len(facts))
			}
			return nil
		})
	}
}

// column is texts as a set.
func column(t *testing.T, s *harness.TestSystem, query string) map[string]bool {
	t.Helper()
	values := map[string]bool{}
	for _, value := range texts(t, s, query) {
		values[value] = true
	}
	return values
}

// stopRabbitMQ freezes the broker for a day.
func stopRabbitMQ(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	neighbour := recordEvents(t, s)
	day := newDay(t, s)
	harness.Inject(t, harness.RabbitMQ.Stop)
	day.goesOn(t, s)
	worksWithout(t, s, "rabbitmq")
	for _, p := range s.Consumers { // a silent peer is noticed after three heartbeats of 5 s
		comesToSay(t, p, "/ready", http.StatusServiceUnavailable, "not ready", 25*time.Second)
	}
	codesLieSealed(t, s, day, func() { require.NoError(t, harness.RabbitMQ.Continue(t.Context())) })
	day.catchesUp(t, s)
	allWell(t, s)
	toldOnce(t, s, neighbour)
}

// alarmRabbitMQ lets the broker accept no messages for want of memory. The outbox keeps them.
func alarmRabbitMQ(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	neighbour := recordEvents(t, s)
	day := newDay(t, s)
	calm := func() { rabbitmqctl(t, "set_vm_memory_high_watermark", "0.6") } // deployments/rabbitmq.conf
	t.Cleanup(calm)
	rabbitmqctl(t, "set_vm_memory_high_watermark", "absolute", "1")
	day.goesOn(t, s)
	worksWithout(t, s, "rabbitmq")
	codesLieSealed(t, s, day, calm)
	day.catchesUp(t, s)
	allWell(t, s)
	toldOnce(t, s, neighbour)
}

// alarmBesideOldConsumer checks that a copy that was on its way to the fanout when the broker stopped reading arrives
// once, although that takes longer than a confirm may: the previous release's consumer would send a repeat as well.
func alarmBesideOldConsumer(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1, Env: inPhase("prepare")})
	old := oldConsumer(t, s)
	people := []*person{register(t, s)}
	oneMail(t, s, people[0].email)
	calm := func() { rabbitmqctl(t, "set_vm_memory_high_watermark", "0.6") } // deployments/rabbitmq.conf
	t.Cleanup(calm)
	rabbitmqctl(t, "set_vm_memory_high_watermark", "absolute", "1")
	for range 12 {
		people = append(people, register(t, s))
	}
	worksWithout(t, s, "rabbitmq")
	lets(t, 11*time.Second) // a confirm may take 10
	calm()
	for _, p := range people {
		oneMail(t, s, p.email)
	}
	s.OutboxEmpty()
	harness.Soon(t, func() error { return lengthIs(s, fanoutQueue, 0) })
	s.Terminate(old)
	for _, p := range people {
		mails := s.Mailbox.All(p.email)
		require.Len(t, mails, 1)
		require.NotEmpty(t, mails[0].Header.Get("X-Sent-By"), "ours are behind the old one")
	}
	for _, p := range s.Processes() {
		require.NotContains(t, strings.Join(p.Log.Lines(0), "\n"), "rebuilding the connection", "%s", p.Name)
	}
}

// TestRedis breaks Redis. None of its tests runs beside another.
func TestRedis(t *testing.T) {
	t.Run("killed", killRedis)
	t.Run("frozen", stopRedis)
	t.Run("full", fillRedis)
	t.Run("killed while projects are worked on", projectsOnABadDay)
}

// killRedis kills Redis for a day.
func killRedis(t *testing.T) {
	redisAway(t, harness.Redis.Kill, harness.Redis.Restart)
}

// stopRedis freezes Redis for a day.
func stopRedis(t *testing.T) {
	redisAway(t, harness.Redis.Stop, harness.Redis.Continue)
}

// redisAway: nobody on the request path needs Redis, and the state catches up by itself.
func redisAway(t *testing.T, begin, end func(context.Context) error) {
	t.Helper()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	neighbour := recordEvents(t, s)
	day := newDay(t, s)
	harness.Inject(t, begin)
	worksWithout(t, s, "redis")
	day.goesOn(t, s)
	for _, p := range s.Consumers {
		comesToSay(t, p, "/health/redis", http.StatusServiceUnavailable, "unhealthy", healthAnswer)
		says(t, p, "/ready", http.StatusOK, "ready")
	}
	for _, p := range day.registered {
		oneMail(t, s, p.email) // mails do not need Redis either
	}
	require.NoError(t, end(t.Context()))
	day.catchesUp(t, s)
	allWell(t, s)
	toldOnce(t, s, neighbour)
}

// fillRedis checks that writes that Redis refuses are retried, not lost, and that a script it has forgotten is loaded
// again.
func fillRedis(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	ctx := context.WithoutCancel(t.Context())
	room := func() { require.NoError(t, s.Redis.ConfigSet(ctx, "maxmemory", "0").Err()) }
	t.Cleanup(room)
	require.NoError(t, s.Redis.ConfigSet(ctx, "maxmemory", "1").Err())
	p := verified(t, s)
	s.WaitLine(s.Consumers[0], `"queue":"identity.subscription"`, `"outcome":"retry"`, `"level":"warn"`)
	room()
	state(t, s, p.id, "trialing")

	require.NoError(t, s.Redis.ScriptFlush(ctx).Err())
	state(t, s, verified(t, s).id, "trialing")
}

// TestPostgreSQL breaks the database. It runs beside no other test.
func TestPostgreSQL(t *testing.T) {
	t.Run("killed under load", killPostgreSQL)
}

// killPostgreSQL checks that without the database nothing works and says so, and that nothing is half done afterwards.
func killPostgreSQL(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	neighbour := recordEvents(t, s)
	before := verified(t, s)
	crowd := startCrowd(t, s, 8)
	crowd.waitVerified(15)
	harness.Inject(t, harness.PostgreSQL.Kill)
	for _, p := range s.Processes() {
		comesToSay(t, p, "/ready", http.StatusServiceUnavailable, "not ready", healthAnswer)
		says(t, p, "/live", http.StatusOK, "alive")
	}
	client := s.Client()
	for range 4 {
		for _, request := range []func() (harness.Answer, error){
			func() (harness.Answer, error) { return client.Register(t.Context(), harness.Email(), harness.Password) },
			func() (harness.Answer, error) { return client.Verify(t.Context(), before.email, "123456") },
			func() (harness.Answer, error) {
				return client.Login(t.Context(), before.email, harness.Password, false)
			},
		} {
			a, err := request()
			require.NoError(t, err, "an answer in the envelope")
			require.GreaterOrEqual(t, a.Status, http.StatusInternalServerError)
			require.NotContains(t, a.Raw, "postgres")
		}
	}
	require.NoError(t, harness.PostgreSQL.Restart(t.Context()))
	for _, p := range s.Processes() {
		s.Ready(p)
	}
	crowd.waitVerified(15)
	crowd.leave()
	require.Zero(t, crowd.lost(), "without its database an api still answers")
	crowd.settle(t, s, neighbour, 1)
	allWell(t, s)
}
