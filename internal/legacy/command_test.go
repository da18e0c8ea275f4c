package legacy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/heartbeat"
)

var at = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func ours(n int) (readers []eventmq.Reader) {
	readers = []eventmq.Reader{}
	for range n {
		readers = append(readers, eventmq.Reader{Tag: "identity", Ours: true, Client: "identity-consumer"})
	}
	return readers
}

func known(name string, consumers int) eventmq.QueueState {
	return eventmq.QueueState{Name: name, Exists: true, Unacked: new(0), Arrived: new(0), Consumers: consumers, Readers: ours(consumers)}
}

// dual returns facts of the third week: both paths are used, and everything is as it should be.
func dual() Facts {
	ladder := func(name string) Ladder {
		return Ladder{
			Main: known(name, 2), Retry: []eventmq.QueueState{known(name+".retry.1s", 0), known(name+".retry.5s", 0)},
			Dead: known(name+".dead", 0),
		}
	}
	old := known(Queue, 2)
	old.Ready, old.Unacked, old.Arrived = 1, new(3), new(870)
	old.Consumers, old.Readers = 3, append(old.Readers, eventmq.Reader{
		Tag: "ctag-main-1", Client: "smtp-worker", Connection: "10.0.3.7:51234 -> 10.0.0.5:5672",
	})
	return Facts{
		At:    at,
		Topic: eventmq.ExchangeState{Name: event.Exchange, Exists: true, Type: "topic", Durable: new(true)},
		Fanout: eventmq.ExchangeState{Name: Exchange, Exists: true, Type: "fanout", Durable: new(true), Writers: []eventmq.Writer{
			{Ours: true, Client: "identity-api-publisher", Connection: "10.0.3.9:50000 -> 10.0.0.5:5672"},
			{Client: "old-api", Connection: "10.0.3.8:50000 -> 10.0.0.5:5672"},
		}},
		Old: old, Email: ladder("identity.email"), Legacy: ladder("identity.legacy"),
		Others:   []eventmq.QueueState{known("identity.subscription", 2), known("identity.subscription.retry.1s", 0)},
		Bindings: []eventmq.Binding{{Source: Exchange, Destination: Queue, Kind: "queue"}},
		OfTopic: []eventmq.Binding{
			{Source: event.Exchange, Destination: "identity.email", Kind: "queue", Key: "email.#"},
			{Source: event.Exchange, Destination: "billing.subscription", Kind: "queue", Key: "subscription.#"},
		},
		Waiting: 2,
		Processes: []heartbeat.Process{
			{ID: "api-1", Role: "api", Version: "2.3", Note: "dual", SeenAt: at.Add(-3 * time.Second)},
			{ID: "consumer-1", Role: "consumer", Version: "2.3", Note: "dual", SeenAt: at.Add(-9 * time.Second)},
		},
		Shadows: Shadows{Since: at.Add(-24 * time.Hour), Matched: 5120},
	}
}

func TestPrintStatus(t *testing.T) {
	t.Parallel()
	t.Run("of a step that is safe", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		require.NoError(t, printStatus(&out, false, dual(), dual().Next()))
		require.Equal(t, `QUEUE                  READY  UNACKED  OURS  FOREIGN  CAME IN 5 MIN
smtp_send_email        1      3        2     1        870
identity.email         0      0        2     0        0
identity.email.dead    0      0        0     0        0
identity.legacy        0      0        2     0        0
identity.legacy.dead   0      0        0     0        0
identity.subscription  0      0        2     0        0

ANOTHER PROGRAM                   CONNECTION
reads smtp_send_email             smtp-worker at 10.0.3.7:51234 -> 10.0.0.5:5672
publishes to smtp_send_email_exc  old-api at 10.0.3.8:50000 -> 10.0.0.5:5672

BINDING  FROM                 TO                    KEY
queue    smtp_send_email_exc  smtp_send_email       -
queue    smap.events          identity.email        email.#
queue    smap.events          billing.subscription  subscription.#

PROCESS     ROLE      VERSION  PHASE  SEEN
api-1       api       2.3      dual   3s ago
consumer-1  consumer  2.3      dual   9s ago

rows for smtp_send_email_exc in the outbox: 2
mails compared since 2026-02-28 03:00:00: 5120 match, 0 differ

safe to go to cutover
`, out.String())
	})
	t.Run("of a step that is not safe", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		require.EqualError(t, printStatus(&out, false, troubled(), Cutover), "it is not safe to go to cutover")
		require.Equal(t, `QUEUE                    READY    UNACKED  OURS       FOREIGN  CAME IN 5 MIN
smtp_send_email          1        ?        3, whose?  ?        ?
identity.email           0        0        2          0        0
identity.email.retry.5s  7        0        0          0        0
identity.email.dead      missing  -        -          -        -
identity.legacy          0        0        2          0        0
identity.legacy.dead     0        0        0          0        0

BINDING  FROM  TO  KEY

PROCESS     ROLE      VERSION  PHASE  SEEN
api-1       api       2.3      dual   2m0s ago, silent since
consumer-1  consumer  2.3      dual   1m0s ago, stopped

rows for smtp_send_email_exc in the outbox: 2
mails compared since 2026-02-28 03:00:00: 5 match, 2 differ
  by field: map[body:2 subject:1]; newest events: evt_b, evt_a
cannot know who is bound to smtp_send_email_exc: the management API cannot be reached

not yet: smap.events is not a durable topic exchange: delete it and restart our processes
not yet: no consumer process of ours is alive: they come first and leave last
not yet: 2 of 7 mails compared since 2026-02-28 03:00 would have differed: compare versions and keys, then count anew with --since
not yet: cannot know whether another team is bound to smtp_send_email_exc: only the management API knows (RABBITMQ_MANAGEMENT_URL)
`, out.String())
	})
	t.Run("warnings do not make a step unsafe", func(t *testing.T) {
		t.Parallel()
		f := dual()
		f.Processes[0].Note = "complete"
		var out bytes.Buffer
		require.NoError(t, printStatus(&out, false, f, Prepare))
		require.Contains(t, out.String(), "warning: people whose password was set or rehashed in complete cannot log in on binaries"+
			" of the previous release\nsafe to go to prepare\n")
	})
	t.Run("as JSON", func(t *testing.T) {
		t.Parallel()
		var answer struct {
			To       string
			Safe     bool
			Blockers []string
			Unknown  []string
			Warnings []string
			Facts    struct {
				Fanout    eventmq.ExchangeState `json:"fanout_exchange"`
				Old       eventmq.QueueState    `json:"fanout_queue"`
				Bindings  []eventmq.Binding
				Rows      int                 `json:"outbox_rows"`
				Processes []heartbeat.Process `json:"processes"`
				Shadows   Shadows             `json:"comparison"`
				Unknown   []string            `json:"cannot_know"`
			}
		}
		var out bytes.Buffer
		require.NoError(t, printStatus(&out, true, dual(), dual().Next()))
		require.NoError(t, json.Unmarshal(out.Bytes(), &answer))
		require.Equal(t, "cutover", answer.To)
		require.True(t, answer.Safe)
		require.NotNil(t, answer.Blockers, "an empty list, not null")
		require.Equal(t, dual().Old, answer.Facts.Old)
		require.Equal(t, dual().Bindings, answer.Facts.Bindings)
		require.Equal(t, dual().Processes, answer.Facts.Processes)
		require.Equal(t, 2, answer.Facts.Rows)
		require.Equal(t, 5120, answer.Facts.Shadows.Matched)

		out.Reset()
		require.Error(t, printStatus(&out, true, troubled(), Cutover))
		require.NoError(t, json.Unmarshal(out.Bytes(), &answer))
		require.False(t, answer.Safe)
		require.Len(t, answer.Blockers, 3)
		require.Len(t, answer.Unknown, 1)
		require.Len(t, answer.Facts.Unknown, 1)
		require.Nil(t, answer.Facts.Bindings, "null is what is not known")
		require.Contains(t, out.String(), `"bindings": null`)
	})
}

// troubled returns facts of a night on which nothing is as it should be.
func troubled() Facts {
	f := dual()
	f.Topic.Type, f.Topic.Durable = "", nil
	f.Fanout.Type, f.Fanout.Durable = "", nil
	f.Old.Readers, f.Old.Unacked, f.Old.Arrived = nil, nil, nil
	f.Email.Retry[1].Ready = 7
	f.Email.Dead = eventmq.QueueState{Name: "identity.email.dead", Readers: ours(0)}
	f.Fanout.Writers = nil
	f.Others, f.Bindings, f.OfTopic = []eventmq.QueueState{}, nil, nil
	f.Processes[0].SeenAt = at.Add(-2 * time.Minute)
	f.Processes[1].SeenAt = at.Add(-time.Minute)
	f.Processes[1].StoppedAt = &f.Processes[1].SeenAt
	f.Shadows.Matched, f.Shadows.Mismatched = 5, 2
	f.Shadows.Fields = map[string]int{"subject": 1, "body": 2}
	f.Shadows.LastMismatch = new(at.Add(-time.Hour))
	f.Shadows.MismatchedEvents = []string{"evt_b", "evt_a"}
	f.Unknown = []string{"who is bound to smtp_send_email_exc: the management API cannot be reached"}
	return f
}

func TestPrintCleanup(t *testing.T) {
	t.Parallel()
	both := []string{"queue smtp_send_email", "exchange smtp_send_email_exc"}
	refused := Verdict{Blockers: []string{"somebody reads it"}, Unknown: []string{"who is bound"}, Warnings: []string{}}
	broken := errors.New("the broker refused")
	for name, c := range map[string]struct {
		dryRun  bool
		cleanup Cleanup
		failed  error
		text    string
		err     error
	}{
		"done":        {false, Cleanup{Verdict: Verdict{Safe: true}, Removed: both}, nil, "deleted queue smtp_send_email\ndeleted exchange smtp_send_email_exc\n", nil},
		"dry run":     {true, Cleanup{Verdict: Verdict{Safe: true}, Removed: both}, nil, "would delete queue smtp_send_email\nwould delete exchange smtp_send_email_exc\n", nil},
		"nothing":     {false, Cleanup{Verdict: Verdict{Safe: true}}, nil, "nothing to do\n", nil},
		"refused":     {false, Cleanup{Verdict: refused}, nil, "not yet: somebody reads it\nnot yet: cannot know who is bound\n", errCleanupRefused},
		"refused dry": {true, Cleanup{Verdict: refused}, nil, "not yet: somebody reads it\nnot yet: cannot know who is bound\n", errCleanupRefused},
		"half":        {false, Cleanup{Verdict: Verdict{Safe: true}, Removed: both[:1]}, broken, "deleted queue smtp_send_email\n", broken},
		"not judged":  {false, Cleanup{}, broken, "", broken},
	} {
		var out bytes.Buffer
		require.ErrorIs(t, printCleanup(&out, c.dryRun, c.cleanup, c.failed), c.err, name)
		require.Equal(t, c.text, out.String(), name)
	}
}

func TestCommandRefusesAnUnknownPhase(t *testing.T) {
	t.Parallel()
	c := Command(func(*cobra.Command, func(*Tool) error) error { panic("the servers are not asked") })
	c.SetArgs([]string{"status", "--to", "done"})
	c.SetOut(io.Discard)
	c.SilenceErrors, c.SilenceUsage = true, true
	require.EqualError(t, c.Execute(), `--to "done" is not a phase; there are [prepare dual cutover complete]`)
}
