package legacy

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/event/fanout"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// field is a broker and a database of one test, with the operator's tool for both.
type field struct {
	*Fanout
	db *database.DB
	ch *amqp.Channel
}

// newField answers a virtual host in which this service's queues and the previous release's exist.
func newField(t *testing.T) *field {
	t.Helper()
	broker, management := os.Getenv("RABBITMQ_URL"), os.Getenv("RABBITMQ_MANAGEMENT_URL")
	require.NotEmpty(t, broker, "INTEGRATION is set but RABBITMQ_URL is not; run make test-integration")
	require.NotEmpty(t, management, "INTEGRATION is set but RABBITMQ_MANAGEMENT_URL is not; run make test-integration")
	management = eventtest.LongUp(t, management)
	u, err := url.Parse(broker)
	require.NoError(t, err)
	name := "fanout-" + uuid.NewString()
	manage := func(method, path, body string) {
		request, err := http.NewRequestWithContext(context.Background(), method, management+path, bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Less(t, answer.StatusCode, 300, "%s %s", method, path)
	}
	manage(http.MethodPut, "/api/vhosts/"+name, "")
	t.Cleanup(func() { manage(http.MethodDelete, "/api/vhosts/"+name, "") })
	manage(http.MethodPut, "/api/permissions/"+name+"/"+u.User.Username(), `{"configure":".*","write":".*","read":".*"}`)
	u.Path = "/" + name

	cfg := config.Config{
		RabbitMQ: config.RabbitMQ{URL: config.Secret(u.String()), ManagementURL: config.Secret(management)},
		Events:   config.Events{Phase: "complete", ConsumeLegacy: true},
	}
	conn, err := amqp.Dial(u.String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, rabbitmq.NewTopology(Queues(cfg)).Declare(ch))
	require.NoError(t, rabbitmq.FanoutTopology(fanout.Exchange, fanout.Queue).Declare(ch))
	f := &field{db: schematest.SQLite(t), ch: ch}
	f.Fanout, err = NewFanout(t.Context(), cfg, f.db, zerolog.Nop())
	require.NoError(t, err)
	return f
}

func (f *field) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := f.db.Conn(t.Context()).ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// report stores a heartbeat of a process that was last seen some time ago.
func (f *field) report(t *testing.T, role string, phase fanout.Phase, ago time.Duration) {
	t.Helper()
	seen := f.clock.Now().Add(-ago)
	f.exec(t, "INSERT INTO processes (id, role, version, phase, started_at, seen_at) VALUES ($1, $2, 'test', $3, $4, $4)",
		uuid.NewString(), role, phase, seen)
}

// exists tells whether the previous release's queue and exchange do.
func (f *field) exists(t *testing.T) (queue, exchange bool) {
	t.Helper()
	found, err := f.inspector.Inspect(t.Context(), fanout.Exchange, []string{fanout.Queue})
	require.NoError(t, err)
	return found.Queue(fanout.Queue).Exists, found.Fanout.Exists
}

// awaitCleanUp tries until the management API has a figure for everything.
func (f *field) awaitCleanUp(t *testing.T, dryRun bool) (c Cleanup) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		c, err = f.CleanUp(t.Context(), dryRun)
		require.NoError(t, err)
		return len(c.Verdict.Unknown) == 0
	}, 30*time.Second, 200*time.Millisecond)
	return c
}

// TestFanoutTool runs on the server that RABBITMQ_URL names, when INTEGRATION is set.
func TestFanoutTool(t *testing.T) {
	if os.Getenv("INTEGRATION") == "" {
		return
	}
	for name, test := range map[string]func(*testing.T){
		"facts": fanoutFacts, "cleanup": cleanUp, "cleanup: what the second look sees": cleanUpLooksTwice,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func fanoutFacts(t *testing.T) {
	f := newField(t)
	f.report(t, "api", fanout.Dual, time.Second)
	f.report(t, "consumer", fanout.Cutover, time.Second)
	f.report(t, "api", fanout.Prepare, fanout.Recently+time.Minute)
	at := f.clock.Now()
	for id, differing := range map[string]string{"evt_1": "", "evt_2": "body"} {
		f.exec(t, "INSERT INTO mail_shadows (event_id, differing, compared_at) VALUES ($1, $2, $3)", id, differing, at.Add(-time.Hour))
	}
	for id, exchange := range map[string]string{"1": fanout.Exchange, "2": event.Exchange} {
		f.exec(t, `INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, headers, body, sealed,
			event_time, created_at, available_at, attempts) VALUES ($1, $1, $2, '', '', true, '{}', '', false, $3, $3, $3, 0)`,
			id, exchange, at)
	}
	_, err := f.ch.QueueDeclare("audit", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, f.ch.QueueBind("audit", "", fanout.Exchange, false, nil))
	_, err = f.ch.Consume(EmailQueue, event.Service, false, false, false, false, nil)
	require.NoError(t, err)
	_, err = f.ch.Consume(fanout.Queue, "ctag-1", false, false, false, false, nil)
	require.NoError(t, err)

	var facts fanout.Facts
	require.Eventually(t, func() bool {
		facts, err = f.Facts(t.Context(), 2*time.Hour)
		require.NoError(t, err)
		return len(facts.Unknown) == 0
	}, 30*time.Second, 200*time.Millisecond)
	require.Equal(t, "topic", facts.Topic.Type)
	require.Equal(t, "fanout", facts.Fanout.Type)
	require.Equal(t, 1, facts.Email.Main.Ours())
	require.Len(t, facts.Old.Foreign(), 1)
	require.Len(t, facts.Bindings, 2)
	require.Equal(t, 1, facts.Waiting)
	require.Equal(t, 1, facts.Shadows.Matched)
	require.Equal(t, map[string]int{"body": 1}, facts.Shadows.Fields)
	require.Len(t, facts.Processes, 2, "who has not reported for so long is left out")
	for _, q := range []event.QueueState{facts.Legacy.Main, facts.Legacy.Dead, facts.Email.Dead} {
		require.True(t, q.Exists, q.Name)
	}
	require.Equal(t, "identity.email.retry.1s", facts.Email.Retry[0].Name)
	require.Len(t, facts.Legacy.Retry, len(facts.Email.Retry))
	var others []string
	for _, q := range facts.Others {
		others = append(others, q.Name)
	}
	require.Contains(t, others, "audit")
	require.Contains(t, others, SubscriptionQueue)
	require.NotContains(t, others, EmailQueue)
	require.NotContains(t, others, fanout.Queue)
	require.Equal(t, fanout.Cutover, facts.Next())
	verdict := fanout.Judge(facts, fanout.Cutover)
	require.Len(t, verdict.Blockers, 2, verdict.Blockers)
	require.Contains(t, verdict.Blockers[0], "queue audit of another team is still bound")
	require.Contains(t, verdict.Blockers[1], "1 of 2 mails")

	facts, err = f.Facts(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Zero(t, facts.Shadows.Matched+facts.Shadows.Mismatched, "older than asked for")
}

func cleanUp(t *testing.T) {
	f := newField(t)
	f.pause = func(context.Context) error { return nil }
	f.report(t, "api", fanout.Dual, time.Minute)
	f.report(t, "api", fanout.Complete, 0)
	for _, dryRun := range []bool{true, false} {
		c := f.awaitCleanUp(t, dryRun)
		require.False(t, c.Verdict.Safe)
		require.Len(t, c.Verdict.Blockers, 1)
		require.Contains(t, c.Verdict.Blockers[0], "1 processes were in dual less than 5 minutes ago")
		require.Empty(t, c.Removed)
	}
	queue, exchange := f.exists(t)
	require.True(t, queue && exchange, "refused: nothing is touched")

	f.exec(t, "DELETE FROM processes WHERE phase = 'dual'")
	c := f.awaitCleanUp(t, true)
	require.True(t, c.Verdict.Safe, c.Verdict)
	require.Equal(t, []string{"queue smtp_send_email", "exchange smtp_send_email_exc"}, c.Removed)
	queue, exchange = f.exists(t)
	require.True(t, queue && exchange, "only told")

	_, err := f.ch.Consume(fanout.Queue, event.Service, false, false, false, false, nil)
	require.NoError(t, err)
	c = f.awaitCleanUp(t, false)
	require.True(t, c.Verdict.Safe, "a consumer of ours is told by the broker and lets go: %v", c.Verdict)
	require.Equal(t, []string{"queue smtp_send_email", "exchange smtp_send_email_exc"}, c.Removed)
	queue, exchange = f.exists(t)
	require.False(t, queue || exchange)

	f.report(t, "api", fanout.Dual, 0)
	c, err = f.CleanUp(t.Context(), false)
	require.NoError(t, err)
	require.True(t, c.Verdict.Safe, "nothing to do is success, whoever lives")
	require.Empty(t, c.Removed)
}

func cleanUpLooksTwice(t *testing.T) {
	f := newField(t)
	looks := 0
	f.pause = func(context.Context) error {
		looks++
		f.report(t, "api", fanout.Prepare, 0)
		return nil
	}
	c := f.awaitCleanUp(t, false)
	require.Equal(t, 1, looks)
	require.False(t, c.Verdict.Safe)
	require.Contains(t, c.Verdict.Blockers[0], "1 living processes are in prepare")
	queue, exchange := f.exists(t)
	require.True(t, queue && exchange)

	f.exec(t, "DELETE FROM processes")
	stopped := errors.New("the operator has had enough")
	f.pause = func(context.Context) error { return stopped }
	_, err := f.CleanUp(t.Context(), false)
	require.ErrorIs(t, err, stopped)
	queue, exchange = f.exists(t)
	require.True(t, queue && exchange)
}

func TestThePauseBetweenTwoLooksEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, waitForFigures(ctx), context.Canceled)
}

func TestTheFanoutToolNeedsAMigratedDatabase(t *testing.T) {
	t.Parallel()
	db, err := database.Open(database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "empty.db")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = NewFanout(context.Background(), config.Config{}, db, zerolog.Nop())
	require.ErrorContains(t, err, "api migrate up")
}
