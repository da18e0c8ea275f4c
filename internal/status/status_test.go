package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/heartbeat"
)

var (
	now   = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	email = event.Queue{Name: "identity.email", Retry: event.Policy{Levels: []time.Duration{time.Second, time.Minute}}}
	state = event.Queue{Name: "identity.subscription"}
)

func process(role, version string, r Report) heartbeat.Process {
	return heartbeat.Process{Role: role, Version: version, Report: r.String(), StartedAt: now.Add(-time.Hour), SeenAt: now}
}

func paused(since time.Time, class string) event.LaneState {
	return event.LaneState{Queue: email.Name, Paused: true, Since: since, Class: class}
}

// well are the sources of a service that is well.
func well() Sources {
	fine := func(context.Context) Dependency { return Dependency{Status: Healthy} }
	return Sources{
		Now:      func() time.Time { return now },
		Roles:    []string{"api", "consumer"},
		Queues:   []event.Queue{email, state},
		Database: fine,
		RabbitMQ: fine,
		Redis:    fine,
		Processes: func(context.Context) ([]heartbeat.Process, error) {
			return []heartbeat.Process{
				process("api", "1.0", Report{}),
				process("api", "1.1", Report{}),
				process("api", "1.1", Report{}),
				process("consumer", "1.1", Report{
					Lanes:        []event.LaneState{{Queue: email.Name}},
					SchedulerLag: new(1.5),
				}),
			}, nil
		},
		Halts: func(context.Context) (map[string]event.Halt, error) { return nil, nil },
		Depths: func(context.Context, []string) (map[string]event.Depth, error) {
			return map[string]event.Depth{
				"identity.email":              {Ready: 3, Consumers: 2},
				"identity.email.retry.1s":     {Ready: 1},
				"identity.email.retry.1m":     {Ready: 2},
				"identity.email.dead":         {},
				"identity.subscription":       {Consumers: 1},
				"identity.subscription.dead":  {},
				"identity.somebody-elses.own": {Ready: 9},
			}, nil
		},
		Outbox:   func(context.Context) (Outbox, error) { return Outbox{Rows: 7, OldestDue: 2}, nil },
		Mails:    func(context.Context) (Mails, error) { return Mails{Owed: 6, Oldest: 12.4}, nil },
		Projects: func(context.Context) (Projects, error) { return Projects{Open: 2, Idle: 4000}, nil },
		Snapshot: func(context.Context) (*float64, error) { return new(0.2), nil },
	}
}

func TestGather(t *testing.T) {
	t.Parallel()
	t.Run("brings together what is known", func(t *testing.T) {
		t.Parallel()
		f := well().Gather(t.Context())
		require.Empty(t, f.Unknown)
		require.Equal(t, []Group{
			{"api", "1.0", 1, now.Add(-time.Hour)}, {"api", "1.1", 2, now.Add(-time.Hour)}, {"consumer", "1.1", 1, now.Add(-time.Hour)},
		}, f.Processes)
		require.Equal(t, Queue{
			Name: "identity.email", Exists: new(true), Ready: new(3), Consumers: new(2), Retry: new(3), Dead: new(0),
		}, f.Queues[0])
		require.Equal(t, []Lane{{Queue: email.Name, Processes: 1}}, f.Lanes)
		require.InDelta(t, 1.5, *f.SchedulerLag, 0)
		require.Empty(t, Judge(f))
		require.NoError(t, Well(f, nil))
	})
	t.Run("leaves unknown what no server says", func(t *testing.T) {
		t.Parallel()
		s := well()
		away := errors.New("does not respond")
		s.Processes = func(context.Context) ([]heartbeat.Process, error) { return nil, away }
		s.Depths = func(context.Context, []string) (map[string]event.Depth, error) { return nil, away }
		s.Unacked = func(context.Context, []string) (map[string]int, error) { return nil, away }
		s.Halts = func(context.Context) (map[string]event.Halt, error) { return nil, away }
		s.Outbox = func(context.Context) (Outbox, error) { return Outbox{}, away }
		s.Mails = func(context.Context) (Mails, error) { return Mails{}, away }
		s.Projects = func(context.Context) (Projects, error) { return Projects{}, away }
		s.Snapshot = func(context.Context) (*float64, error) { return nil, away }
		f := s.Gather(t.Context())
		require.Len(t, f.Unknown, 8)
		require.Equal(t, []Queue{{Name: email.Name}, {Name: state.Name}}, f.Queues)
		require.Nil(t, f.Processes)
		require.Nil(t, f.Outbox)
		require.Nil(t, f.Mails)
		require.Nil(t, f.Projects)
		require.Nil(t, f.SchedulerLag)
		require.Empty(t, Judge(f), "nothing is wrong because it is unknown")
		require.ErrorIs(t, Well(f, nil), ErrNotWell, "and nobody can say that all is well")
	})
	t.Run("knows a queue that does not exist from one that is empty", func(t *testing.T) {
		t.Parallel()
		s := well()
		s.Depths = func(context.Context, []string) (map[string]event.Depth, error) {
			return map[string]event.Depth{state.Name: {}}, nil
		}
		s.Unacked = func(context.Context, []string) (map[string]int, error) { return map[string]int{state.Name: 4}, nil }
		f := s.Gather(t.Context())
		require.Equal(t, Queue{Name: email.Name, Exists: new(false)}, f.Queues[0])
		require.Equal(t, Queue{
			Name: state.Name, Exists: new(true), Ready: new(0), Unacked: new(4), Consumers: new(0),
		}, f.Queues[1])
	})
	t.Run("joins what processes report, of those that live", func(t *testing.T) {
		t.Parallel()
		s := well()
		trouble := map[string]string{"rabbitmq": "takes no messages"}
		killed := process("consumer", "1.1", Report{SchedulerLag: new(9000.0), Lanes: []event.LaneState{paused(now.Add(-time.Hour), "old")}})
		killed.SeenAt = now.Add(-heartbeat.AliveFor - time.Second)
		newer := process("consumer", "2.0", Report{})
		newer.Report = `["of a release to come"]`
		s.Processes = func(context.Context) ([]heartbeat.Process, error) {
			return []heartbeat.Process{
				killed, newer,
				process("consumer", "1.1", Report{Lanes: []event.LaneState{{Queue: email.Name}}, SchedulerLag: new(3.0)}),
				process("consumer", "1.1", Report{
					Lanes: []event.LaneState{paused(now.Add(-time.Minute), "smtp_connect")}, SchedulerLag: new(70.0), Troubles: trouble,
				}),
				process("consumer", "1.1", Report{Lanes: []event.LaneState{paused(now, "smtp_auth")}, Troubles: trouble}),
			}, nil
		}
		f := s.Gather(t.Context())
		require.Equal(t, []Lane{
			{Queue: email.Name, Paused: true, Class: "smtp_connect", Since: new(now.Add(-time.Minute)), Processes: 3},
		}, f.Lanes)
		require.InDelta(t, 70.0, *f.SchedulerLag, 0)
		require.Equal(t, []Trouble{{"consumer", "rabbitmq", "takes no messages", 2}}, f.Troubles)
		require.Equal(t, 4, f.Alive("consumer"))
	})
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(f *Facts)
		alert  string
		what   string
		next   string
	}{
		"a role is gone":             {func(f *Facts) { f.Processes = f.Processes[:2] }, "RoleGone", "consumer", "consumer serve"},
		"all are gone":               {func(f *Facts) { f.Processes = []Group{} }, "RoleGone", "api", "api serve"},
		"a queue without a consumer": {func(f *Facts) { f.Queues[0].Consumers = new(0) }, "QueueWithoutConsumer", "identity.email (6 wait)", ""},
		"a queue that is missing":    {func(f *Facts) { f.Queues[1] = Queue{Name: "q", Exists: new(false)} }, "QueueWithoutConsumer", "do not exist: q", ""},
		"the database":               {func(f *Facts) { f.Database = Dependency{"degraded", "read-only"} }, "DatabaseUnavailable", "degraded: read-only", ""},
		"the broker":                 {func(f *Facts) { f.RabbitMQ = Dependency{"unhealthy", "an alarm"} }, "BrokerUnavailable", "an alarm", ""},
		"the broker, for one role":   {func(f *Facts) { f.Troubles = []Trouble{{"api", "rabbitmq", "an alarm", 2}} }, "BrokerUnavailable", "an alarm (2 of the role api)", ""},
		"redis":                      {func(f *Facts) { f.Redis = Dependency{"unhealthy", "a replica"} }, "RedisRefusesWrites", "a replica", ""},
		"an owed mail":               {func(f *Facts) { f.Mails = &Mails{1, MailOwedFor + 1} }, "MailIsOwed", "1 mail is owed, the oldest for 2m1s", ""},
		"a paused lane": {func(f *Facts) {
			f.Lanes = []Lane{{Queue: "q", Paused: true, Class: "smtp_connect", Since: &now, Processes: 1}}
		}, "MailIsPaused", "2026-01-31 09:30:00", "SMTP_"},
		"the outbox stands": {func(f *Facts) { f.Outbox.OldestDue = OutboxDueFor + 1 }, "OutboxIsNotMoving", "1m1s", ""},
		"a row given up":    {func(f *Facts) { f.Outbox.Failed = 1 }, "OutboxRowsGivenUp", "1 row of the outbox was", "consumer outbox retry"},
		"rows given up":     {func(f *Facts) { f.Outbox.Failed = 3 }, "OutboxRowsGivenUp", "3 rows", "consumer outbox retry"},
		"one dead letter":   {func(f *Facts) { f.Queues[1].Dead = new(1) }, "DeadLetters", "identity.subscription has 1 dead letter", "consumer dlq list identity.subscription"},
		"dead letters":      {func(f *Facts) { f.Queues[1].Dead = new(2) }, "DeadLetters", "2 dead letters", "consumer dlq list identity.subscription"},
		"a late scheduler":  {func(f *Facts) { f.SchedulerLag = new(3600.0) }, "SubscriptionsEndLate", "1h0m ago", ""},
		"an old snapshot":   {func(f *Facts) { f.OldestSnapshot = new(SnapshotOldFor + 1.0) }, "OldSnapshot", "10m1s", "pg_stat_activity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := well().Gather(t.Context())
			test.change(&f)
			problems := Judge(f)
			require.NotEmpty(t, problems)
			require.Equal(t, test.alert, problems[0].Alert)
			require.Contains(t, problems[0].What, test.what)
			require.Contains(t, problems[0].Next, test.next)
			require.NotEmpty(t, problems[0].Next)
			require.ErrorIs(t, Well(f, problems), ErrNotWell)
		})
	}
	t.Run("what is just within its bound is well", func(t *testing.T) {
		t.Parallel()
		f := well().Gather(t.Context())
		f.Mails.Oldest, f.Outbox.OldestDue = MailOwedFor, OutboxDueFor
		f.SchedulerLag, f.OldestSnapshot = new(float64(SchedulerLate)), new(float64(SnapshotOldFor))
		require.Empty(t, Judge(f))
	})
	t.Run("puts what pages first", func(t *testing.T) {
		t.Parallel()
		f := well().Gather(t.Context())
		f.Queues[1].Dead, f.Outbox.Failed = new(2), 1
		f.Redis = Dependency{"unhealthy", "read-only"}
		f.Mails.Oldest = 600
		var order []string
		for _, p := range Judge(f) {
			order = append(order, p.Alert)
		}
		require.Equal(t, []string{"RedisRefusesWrites", "MailIsOwed", "OutboxRowsGivenUp", "DeadLetters"}, order)
	})
}

func TestWrite(t *testing.T) {
	t.Parallel()
	f := well().Gather(t.Context())
	f.Processes = f.Processes[:2]
	f.Processes[0].Version = "1\x1b[31m"
	f.Queues[0].Consumers, f.Queues[1].Ready = new(0), nil
	f.Lanes = []Lane{{Queue: email.Name, Paused: true, Class: "smtp_connect", Since: &now, Processes: 1}}
	f.Unknown = []string{"the outbox: it is\nlate"}
	f.Outbox = nil
	t.Run("shows people the worst first, and unknown figures as such", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		require.NoError(t, Write(&out, f, Judge(f)))
		require.Equal(t, strings.TrimLeft(`
not well:
  no process of the role consumer lives
    -> Read the last lines of its log and start it: consumer serve (docs/runbook.md#role-gone)
  nobody consumes identity.email (6 wait)
    -> Start a consumer, or read in its log why it does not consume (docs/runbook.md#queue-without-consumer)
  identity.email is paused since 2026-01-31 09:30:00: the mail server refuses us or cannot be reached (smtp_connect)
    -> Repair the mail server, or the SMTP_ settings; mails leave by themselves then (docs/runbook.md#mail-is-paused)
  unknown: the outbox: it is\u000alate

ROLE      VERSION      ALIVE  SINCE
api       1\u001b[31m  1      2026-01-31 08:30:00
api       1.1          2      2026-01-31 08:30:00
consumer  –            0      –

QUEUE                  READY  UNACKED  CONSUMERS  RETRY  DEAD
identity.email         3      –        0          3      0
identity.subscription  –      –        1          –      0

outbox               –
mails                6 owed, the oldest for 12s
lane identity.email  paused since 2026-01-31 09:30:00: smtp_connect
scheduler lag        2s
projects             2 open, the longest without a change for 1h7m
database             healthy, the oldest snapshot 0s
rabbitmq             healthy
redis                healthy
`, "\n"), out.String())
	})
	t.Run("gives programs null for what is unknown", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		require.NoError(t, WriteJSON(&out, f, Judge(f)))
		var read struct {
			Well     bool
			Problems []map[string]any
			Outbox   *Outbox
			Queues   []map[string]any
		}
		require.NoError(t, json.Unmarshal(out.Bytes(), &read))
		require.False(t, read.Well)
		require.Equal(t, "RoleGone", read.Problems[0]["alert"])
		require.Equal(t, "docs/runbook.md#role-gone", read.Problems[0]["runbook"])
		require.Nil(t, read.Outbox)
		require.Contains(t, read.Queues[1], "ready")
		require.Nil(t, read.Queues[1]["ready"])
	})
	t.Run("says so when all is well", func(t *testing.T) {
		t.Parallel()
		f := well().Gather(t.Context())
		var out bytes.Buffer
		require.NoError(t, Write(&out, f, Judge(f)))
		require.True(t, strings.HasPrefix(out.String(), "well\n"), out.String())
	})
}
