//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// healthTimeout is how long /health/* and /ready may take: two seconds of probing, and what a busy machine adds.
const healthTimeout = 5 * time.Second

// stale is how old a probe's finding may be, and how long a busy machine may take to make the next one.
const stale = 26 * time.Second

// responds waits until a process responds to a probe as it should, and checks that it does not take long.
func responds(t *testing.T, p *harness.Process, path string, status int, word string) {
	t.Helper()
	soonResponds(t, p, path, status, word, healthTimeout)
}

// respondsNow checks a process's response to a probe, and that it does not take long.
func respondsNow(t *testing.T, p *harness.Process, path string, status int, word string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healthTimeout)
	defer cancel()
	have, body, err := p.Get(ctx, path)
	require.NoError(t, err, "%s %s", p.Name, path)
	require.Equal(t, status, have, "%s %s: %s", p.Name, path, body)
	require.Contains(t, body, word, "%s %s", p.Name, path)
}

// soonResponds waits for a response to a probe, and then checks it like responds.
func soonResponds(t *testing.T, p *harness.Process, path string, status int, word string, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within+stale)
	defer cancel()
	require.NoError(t, harness.Eventually(ctx, func() error {
		have, body, err := p.Get(ctx, path)
		if err == nil && (have != status || !strings.Contains(body, word)) {
			err = fmt.Errorf("%s %s: %d %s", p.Name, path, have, body)
		}
		return err
	}))
	respondsNow(t, p, path, status, word)
}

// allHealthy checks every probe of every process.
func allHealthy(t *testing.T, s *harness.TestSystem) {
	t.Helper()
	for _, p := range s.Processes() {
		soonResponds(t, p, "/health", http.StatusOK, `"data":{"status":"healthy"`, harness.Patience)
		soonResponds(t, p, "/ready", http.StatusOK, `"data":{"status":"ready"`, harness.Patience)
		responds(t, p, "/live", http.StatusOK, "alive")
		responds(t, p, "/health/redis", http.StatusOK, `"healthy"`)
		responds(t, p, "/health/rabbitmq", http.StatusOK, `"exchange":"smap.events","type":"topic","durable":true`)
	}
}

// degradedWithout checks the probes of the apis while the broker or Redis is down: ready all the same, and degraded.
func degradedWithout(t *testing.T, s *harness.TestSystem, down string) {
	t.Helper()
	for _, p := range s.APIs {
		soonResponds(t, p, "/health/"+down, http.StatusServiceUnavailable, `"unhealthy"`, healthTimeout)
		responds(t, p, "/live", http.StatusOK, "alive")
		responds(t, p, "/ready", http.StatusOK, `"`+down+`":{"status":"unhealthy"`)
		responds(t, p, "/health", http.StatusOK, "degraded")
	}
}

// TestRabbitMQ breaks the broker. None of its tests runs beside another.
func TestRabbitMQ(t *testing.T) {
	t.Run("killed", killRabbitMQ)
	t.Run("frozen", stopRabbitMQ)
	t.Run("out of memory", alarmRabbitMQ)
	t.Run("out of memory beside a consumer of the previous release", alarmBesideOldConsumer)
	t.Run("killed under load", killRabbitMQUnderLoad)
	t.Run("a consumer with another EVENTS_SEAL_KEY", otherSealKey)
}

// otherSealKey checks that a process leaves rows that it cannot open to those that can, and says so at its start.
func otherSealKey(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 1})
	calm := func() { rabbitmqctl(t, "set_vm_memory_high_watermark", "0.6") } // deployments/rabbitmq.conf
	t.Cleanup(calm)
	rabbitmqctl(t, "set_vm_memory_high_watermark", "absolute", "1")
	var people []*person
	for range 6 {
		people = append(people, register(t, s))
	}
	other := s.NewConsumer("EVENTS_SEAL_KEY=" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)))
	require.NoError(t, other.Start(t.Context()))
	s.WaitLine(other, "rows are sealed with another EVENTS_SEAL_KEY")
	responds(t, other, "/health", http.StatusOK, "sealed with another EVENTS_SEAL_KEY than this process has")
	calm()
	for _, p := range people {
		oneMail(t, s, p.email) // published by the api, and sent by the consumer
	}
	s.OutboxEmpty()
	require.False(t, other.Log.Contains(`"error_type":"sealed"`), "no try was counted")
}

// killRabbitMQ checks a day without the broker.
func killRabbitMQ(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	allHealthy(t, s)
	recorded := recordEvents(t, s)
	day := newDay(t, s)
	harness.Inject(t, harness.RabbitMQ.Kill)
	day.compareBadDay(t, s)
	degradedWithout(t, s, "rabbitmq")
	for _, p := range s.Consumers {
		soonResponds(t, p, "/ready", http.StatusServiceUnavailable, "not ready", healthTimeout)
		responds(t, p, "/live", http.StatusOK, "alive")
	}
	codesAreSealed(t, s, day, func() { require.NoError(t, harness.RabbitMQ.Restart(t.Context())) })
	day.checkCaughtUp(t, s)
	allHealthy(t, s)
	eventsMatchRows(t, s, recorded)
}

// codesAreSealed dumps the database while mails wait in the outbox, and looks for their codes once the mails have come.
func codesAreSealed(t *testing.T, s *harness.TestSystem, d *day, end func()) {
	t.Helper()
	require.GreaterOrEqual(t, s.Count("SELECT count(*) FROM outbox WHERE sealed"), len(d.registered))
	before := dump(t, s)
	end()
	for _, p := range d.registered {
		p.readMail(t, s)
		hidesCode(t, before, p.code)
	}
}

// eventsMatchRows checks that every fact in the database is an event, and the other way round.
func eventsMatchRows(t *testing.T, s *harness.TestSystem, recorded *eventRecorder) {
	t.Helper()
	for key, query := range map[string]string{
		"email.verification.requested": "SELECT id FROM users",
		"subscription.created":         "SELECT user_id FROM subscriptions",
	} {
		harness.Soon(t, func() error {
			facts, events := textSet(t, s, query), map[string]string{}
			for _, e := range recorded.events(key) {
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

// textSet returns the single column of a query as a set.
func textSet(t *testing.T, s *harness.TestSystem, query string) map[string]bool {
	t.Helper()
	values := map[string]bool{}
	for _, value := range texts(t, s, query) {
		values[value] = true
	}
	return values
}

// stopRabbitMQ checks a day on which the broker is frozen.
func stopRabbitMQ(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	day := newDay(t, s)
	harness.Inject(t, harness.RabbitMQ.Stop)
	day.compareBadDay(t, s)
	degradedWithout(t, s, "rabbitmq")
	for _, p := range s.Consumers { // a silent peer is noticed after three heartbeats of 5 s
		soonResponds(t, p, "/ready", http.StatusServiceUnavailable, "not ready", 25*time.Second)
	}
	codesAreSealed(t, s, day, func() { require.NoError(t, harness.RabbitMQ.Continue(t.Context())) })
	day.checkCaughtUp(t, s)
	allHealthy(t, s)
	eventsMatchRows(t, s, recorded)
}

// alarmRabbitMQ checks a day on which the broker accepts no messages for want of memory.
func alarmRabbitMQ(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	day := newDay(t, s)
	calm := func() { rabbitmqctl(t, "set_vm_memory_high_watermark", "0.6") } // deployments/rabbitmq.conf
	t.Cleanup(calm)
	rabbitmqctl(t, "set_vm_memory_high_watermark", "absolute", "1")
	day.compareBadDay(t, s)
	degradedWithout(t, s, "rabbitmq")
	codesAreSealed(t, s, day, calm)
	day.checkCaughtUp(t, s)
	allHealthy(t, s)
	eventsMatchRows(t, s, recorded)
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
	degradedWithout(t, s, "rabbitmq")
	wait(t, 11*time.Second) // a confirm may take 10
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
		require.NotEmpty(t, mails[0].Header.Get("X-Sent-By"), "the old consumer comes first")
	}
	for _, p := range s.Processes() {
		require.False(t, p.Log.Contains("rebuilding the connection"), "%s", p.Name)
	}
}

// TestRedis breaks Redis. None of its tests runs beside another.
func TestRedis(t *testing.T) {
	t.Run("killed", killRedis)
	t.Run("frozen", stopRedis)
	t.Run("full", fillRedis)
	t.Run("killed while projects are worked on", projectsOnABadDay)
}

// killRedis checks a day without Redis.
func killRedis(t *testing.T) {
	withoutRedis(t, harness.Redis.Kill, harness.Redis.Restart)
}

// stopRedis checks a day on which Redis is frozen.
func stopRedis(t *testing.T) {
	withoutRedis(t, harness.Redis.Stop, harness.Redis.Continue)
}

// withoutRedis checks that no request needs Redis, and that the states catch up.
func withoutRedis(t *testing.T, begin, end func(context.Context) error) {
	t.Helper()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	day := newDay(t, s)
	harness.Inject(t, begin)
	degradedWithout(t, s, "redis")
	day.compareBadDay(t, s)
	for _, p := range s.Consumers {
		soonResponds(t, p, "/health/redis", http.StatusServiceUnavailable, "unhealthy", healthTimeout)
		responds(t, p, "/ready", http.StatusOK, "ready")
	}
	for _, p := range day.registered {
		oneMail(t, s, p.email) // mails do not need Redis either
	}
	require.NoError(t, end(t.Context()))
	day.checkCaughtUp(t, s)
	allHealthy(t, s)
	eventsMatchRows(t, s, recorded)
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
	subscriptionState(t, s, p.id, "trialing")

	require.NoError(t, s.Redis.ScriptFlush(ctx).Err())
	subscriptionState(t, s, verified(t, s).id, "trialing")
}

// TestPostgreSQL breaks the database. It runs beside no other test.
func TestPostgreSQL(t *testing.T) {
	t.Run("killed under load", killPostgreSQL)
}

// killPostgreSQL checks that without the database nothing works and says so, and that nothing is half done afterwards.
func killPostgreSQL(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	before := verified(t, s)
	crowd := startCrowd(t, s, 8)
	crowd.waitVerified(15)
	harness.Inject(t, harness.PostgreSQL.Kill)
	for _, p := range s.Processes() {
		soonResponds(t, p, "/ready", http.StatusServiceUnavailable, "not ready", healthTimeout)
		responds(t, p, "/live", http.StatusOK, "alive")
	}
	client := s.Client()
	for range 4 {
		for _, request := range []func() (harness.Answer, error){
			func() (harness.Answer, error) { return client.Register(t.Context(), harness.Email(), harness.Password) },
			func() (harness.Answer, error) { return client.Verify(t.Context(), before.email, "123456") },
			func() (harness.Answer, error) {
				return client.Login(t.Context(), before.email, harness.Password, false)
			},
			func() (harness.Answer, error) { // never 401, which would send them to the login
				return before.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil)
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
	crowd.finish()
	require.Zero(t, crowd.lostAnswers(), "an api responds without its database")
	crowd.check(t, s, recorded, 1)
	allHealthy(t, s)
}

// TestRedisSettings starts processes with settings that lead to no state, or to none of ours.
func TestRedisSettings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ setting, named string }{
		"a wrong password":              {"REDIS_PASSWORD=wrong", "REDIS_PASSWORD"},
		"no password":                   {"REDIS_PASSWORD=", "REDIS_PASSWORD"},
		"an unknown user":               {"REDIS_USERNAME=nobody", "REDIS_USERNAME"},
		"a number that no database has": {"REDIS_STATE_DB=9999", "REDIS_STATE_DB"},
		"no cache of that number":       {"REDIS_CACHE_DB=9999", "REDIS_CACHE_DB"},
		"a port where nothing listens":  {"REDIS_PORT=1", "REDIS_PORT"},
		"TLS where there is none":       {"REDIS_TLS=true", "REDIS_TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.New(t, harness.Options{})
			for _, p := range []*harness.Process{s.NewAPI(test.setting), s.NewConsumer(test.setting)} {
				s.StartReady(p)
				s.WaitLine(p, `"level":"warn"`, "redis ", test.named)
				_, body, err := p.Get(t.Context(), "/health/redis")
				require.NoError(t, err)
				require.Contains(t, body, `"status":"unhealthy"`)
				require.Contains(t, body, test.named)
				require.NotContains(t, body, "127.0.0.1")
			}
			responds(t, s.APIs[0], "/health", http.StatusOK, "degraded")
			if test.named == "REDIS_CACHE_DB" {
				return // projects are counted all the same
			}
			a, err := s.Client().Call(t.Context(), http.MethodPost, "/internal/projects/p", `{"user_id":"u"}`,
				"X-Internal-Key", os.Getenv("INTERNAL_KEY"))
			require.NoError(t, err)
			require.Equal(t, http.StatusServiceUnavailable, a.Status)
			require.NotEmpty(t, a.Header.Get("Retry-After"))
		})
	}
}
