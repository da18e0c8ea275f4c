package legacy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

func TestTool(t *testing.T) {
	t.Parallel()
	t.Run("the pause between two looks ends with its context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, waitForFigures(ctx), context.Canceled)
	})
	onServer(t, map[string]func(*testing.T){
		"gathers the facts":                               gathersFacts,
		"cleans up once nobody needs the old topology":    cleansUp,
		"the second look of a cleanup sees what has come": looksTwice,
		"the broker's refusals are the last guard":        lastGuard,
	})
}

// field is a broker and a database of one test, with the operator's tool for both.
type field struct {
	*Tool
	db *database.DB
	ch *amqp.Channel
}

// newField returns a virtual host in which this service's queues and the previous release's exist.
func newField(t *testing.T) *field {
	t.Helper()
	broker := newVirtualHost(t)
	email, other := ourQueue(time.Second, 5*time.Second), ourQueue(time.Second)
	email.Name, email.Bindings, other.Name = "identity.email", []string{emailKeys}, "identity.subscription"
	queues := []event.Queue{email, other, ourQueue(time.Second, 5*time.Second)}
	f := &field{db: schematest.SQLite(t), ch: rawChannel(t, broker)}
	conn, err := rabbitmq.Dial(t.Context(), options(broker, t.Name(), nil))
	require.NoError(t, err)
	_, err = eventmq.NewTopology(queues).Declare(conn)
	require.NoError(t, errors.Join(err, conn.Close()))
	require.NoError(t, Declare(f.ch))
	f.Tool = NewTool(ToolDeps{
		Audit: &audittest.Recorder{},
		DB:    f.db, Clock: newClock(), Connection: options(broker, t.Name(), nil), ManagementURL: eventtest.LongUp(t, managementURL(t)),
		Queues: queues, Email: "identity.email", Legacy: "identity.legacy",
	})
	return f
}

// beats stores a heartbeat of a process that was last seen some time ago.
func (f *field) beats(t *testing.T, role string, phase Phase, ago time.Duration) {
	t.Helper()
	exec(t, f.db, "INSERT INTO processes (id, role, version, phase, started_at, seen_at) VALUES ($1, $2, 'test', $3, $4, $4)",
		uuid.NewString(), role, string(phase), f.deps.Clock.Now().Add(-ago))
}

// exist reports whether the previous release's queue and exchange do.
func (f *field) exist(t *testing.T) (queue, exchange bool) {
	t.Helper()
	facts, err := f.Facts(t.Context(), 0)
	require.NoError(t, err)
	return facts.Old.Exists, facts.Fanout.Exists
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

func gathersFacts(t *testing.T) {
	f := newField(t)
	f.beats(t, "api", Dual, time.Second)
	f.beats(t, "consumer", Cutover, time.Second)
	f.beats(t, "api", Prepare, Recently+time.Minute)
	at := f.deps.Clock.Now()
	for id, differing := range map[string]string{"evt_1": "", "evt_2": "body"} {
		exec(t, f.db, "INSERT INTO mail_shadows (event_id, differing, compared_at) VALUES ($1, $2, $3)", id, differing, at.Add(-time.Hour))
	}
	for id, failed := range map[string]any{"1": nil, "2": at} {
		exec(t, f.db, `INSERT INTO legacy_mails (id, event_id, headers, body, event_time, created_at, available_at, failed_at)
			VALUES ($1, $1, '{}', '', $2, $2, $2, $3)`, id, at, failed)
	}
	_, err := f.ch.QueueDeclare("audit", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, f.ch.QueueBind("audit", "", Exchange, false, nil))
	_, err = f.ch.Consume("identity.email", event.Service, false, false, false, false, nil)
	require.NoError(t, err)
	_, err = f.ch.Consume(Queue, "ctag-1", false, false, false, false, nil)
	require.NoError(t, err)

	var facts Facts
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
	require.Equal(t, 2, facts.Waiting, "one that was given up can still be retried")
	require.Equal(t, 1, facts.Shadows.Matched)
	require.Equal(t, map[string]int{"body": 1}, facts.Shadows.Fields)
	require.Len(t, facts.Processes, 2, "who has not reported for so long is left out")
	for _, q := range []eventmq.QueueState{facts.Legacy.Main, facts.Legacy.Dead, facts.Email.Dead} {
		require.True(t, q.Exists, q.Name)
	}
	require.Equal(t, "identity.email.retry.1s", facts.Email.Retry[0].Name)
	require.Len(t, facts.Legacy.Retry, len(facts.Email.Retry))
	var others []string
	for _, q := range facts.Others {
		others = append(others, q.Name)
	}
	require.Equal(t, []string{"identity.subscription", "identity.subscription.retry.1s", "identity.subscription.dead", "audit"}, others)
	require.Equal(t, Cutover, facts.Next())
	verdict := Judge(facts, Cutover)
	require.Len(t, verdict.Blockers, 2, verdict.Blockers)
	require.Contains(t, verdict.Blockers[0], "queue audit of another team is still bound")
	require.Contains(t, verdict.Blockers[1], "1 of 2 mails")

	facts, err = f.Facts(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Zero(t, facts.Shadows.Matched+facts.Shadows.Mismatched, "older than asked for")
}

func cleansUp(t *testing.T) {
	f := newField(t)
	f.pause = func(context.Context) error { return nil }
	f.beats(t, "api", Dual, time.Minute)
	f.beats(t, "api", Complete, 0)
	for _, dryRun := range []bool{true, false} {
		c := f.awaitCleanUp(t, dryRun)
		require.False(t, c.Verdict.Safe)
		require.Len(t, c.Verdict.Blockers, 1)
		require.Contains(t, c.Verdict.Blockers[0], "1 processes were in dual less than 5 minutes ago")
		require.Empty(t, c.Removed)
	}
	queue, exchange := f.exist(t)
	require.True(t, queue && exchange, "refused: nothing is touched")

	exec(t, f.db, "DELETE FROM processes WHERE phase = 'dual'")
	both := []string{"queue smtp_send_email", "exchange smtp_send_email_exc"}
	c := f.awaitCleanUp(t, true)
	require.True(t, c.Verdict.Safe, c.Verdict)
	require.Equal(t, both, c.Removed)
	queue, exchange = f.exist(t)
	require.True(t, queue && exchange, "only said")

	_, err := f.ch.Consume(Queue, event.Service, false, false, false, false, nil)
	require.NoError(t, err)
	c = f.awaitCleanUp(t, false)
	require.True(t, c.Verdict.Safe, "a consumer of ours is told by the broker and lets go: %v", c.Verdict)
	require.Equal(t, both, c.Removed)
	queue, exchange = f.exist(t)
	require.False(t, queue || exchange)

	f.beats(t, "api", Dual, 0)
	c, err = f.CleanUp(t.Context(), false)
	require.NoError(t, err)
	require.True(t, c.Verdict.Safe, "nothing to do is success, whoever lives")
	require.Empty(t, c.Removed)
}

func looksTwice(t *testing.T) {
	f := newField(t)
	looks := 0
	f.pause = func(context.Context) error {
		looks++
		f.beats(t, "api", Prepare, 0)
		return nil
	}
	c := f.awaitCleanUp(t, false)
	require.Equal(t, 1, looks)
	require.False(t, c.Verdict.Safe)
	require.Contains(t, c.Verdict.Blockers[0], "1 processes were in prepare less than 5 minutes ago")
	queue, exchange := f.exist(t)
	require.True(t, queue && exchange)

	exec(t, f.db, "DELETE FROM processes")
	stopped := errors.New("the operator has had enough")
	f.pause = func(context.Context) error { return stopped }
	_, err := f.CleanUp(t.Context(), false)
	require.ErrorIs(t, err, stopped)
	queue, exchange = f.exist(t)
	require.True(t, queue && exchange)
}

// lastGuard: what comes after the last look is not lost, and what was deleted before is told.
func lastGuard(t *testing.T) {
	f := newField(t)
	facts, err := f.Facts(t.Context(), 0)
	require.NoError(t, err)
	publishRaw(t, f.ch, copyNamed("late"))
	removed, err := f.remove(t.Context(), facts, false)
	require.ErrorContains(t, err, "deleting queue smtp_send_email")
	require.Empty(t, removed)

	require.Equal(t, 1, ready(t, f.ch, Queue))
	_, err = f.ch.QueuePurge(Queue, false)
	require.NoError(t, err)
	_, err = f.ch.QueueDeclare("audit", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, f.ch.QueueBind("audit", "", Exchange, false, nil))
	removed, err = f.remove(t.Context(), facts, false)
	require.ErrorContains(t, err, "deleting exchange smtp_send_email_exc")
	require.Equal(t, []string{"queue smtp_send_email"}, removed)

	publishRaw(t, f.ch, copyNamed("audited"))
	require.Equal(t, 1, ready(t, f.ch, "audit"), "who is bound still gets everything")
	_, err = f.ch.QueueDelete("audit", false, false, false)
	require.NoError(t, err)
	removed, err = f.remove(t.Context(), facts, false)
	require.NoError(t, err)
	require.Equal(t, []string{"queue smtp_send_email", "exchange smtp_send_email_exc"}, removed, "a queue that has gone is no error")
}
