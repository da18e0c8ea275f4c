package legacy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/fanout"
)

var at = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func ours(n int) (readers []event.Reader) {
	readers = []event.Reader{}
	for range n {
		readers = append(readers, event.Reader{Tag: "identity", Ours: true, Client: "identity-consumer"})
	}
	return readers
}

func known(name string, consumers int) event.QueueState {
	return event.QueueState{Name: name, Exists: true, Unacked: new(0), Arrived: new(0), Consumers: consumers, Readers: ours(consumers)}
}

// dual answers facts of the third week: both paths are used, and everything is as it should be.
func dual() fanout.Facts {
	ladder := func(name string) fanout.Ladder {
		return fanout.Ladder{
			Main: known(name, 2), Retry: []event.QueueState{known(name+".retry.1s", 0), known(name+".retry.5s", 0)},
			Dead: known(name+".dead", 0),
		}
	}
	old := known(fanout.Queue, 2)
	old.Ready, old.Unacked, old.Arrived = 1, new(3), new(870)
	old.Consumers, old.Readers = 3, append(old.Readers, event.Reader{
		Tag: "ctag-main-1", Client: "smtp-worker", Connection: "10.0.3.7:51234 -> 10.0.0.5:5672",
	})
	return fanout.Facts{
		At:    at,
		Topic: event.ExchangeState{Name: event.Exchange, Exists: true, Type: "topic", Durable: new(true)},
		Fanout: event.ExchangeState{Name: fanout.Exchange, Exists: true, Type: "fanout", Durable: new(true), Writers: []event.Writer{
			{Ours: true, Client: "identity-api-publisher", Connection: "10.0.3.9:50000 -> 10.0.0.5:5672"},
			{Client: "old-api", Connection: "10.0.3.8:50000 -> 10.0.0.5:5672"},
		}},
		Old: old, Email: ladder("identity.email"), Legacy: ladder("identity.legacy"),
		Others:   []event.QueueState{known("identity.subscription", 2), known("identity.subscription.retry.1s", 0)},
		Bindings: []event.Binding{{Source: fanout.Exchange, Destination: fanout.Queue, Kind: "queue"}},
		OfTopic: []event.Binding{
			{Source: event.Exchange, Destination: "identity.email", Kind: "queue", Key: "email.#"},
			{Source: event.Exchange, Destination: "billing.subscription", Kind: "queue", Key: "subscription.#"},
		},
		Waiting: 2,
		Processes: []fanout.Process{
			{ID: "api-1", Role: "api", Version: "2.3", Phase: fanout.Dual, SeenAt: at.Add(-3 * time.Second)},
			{ID: "consumer-1", Role: "consumer", Version: "2.3", Phase: fanout.Dual, SeenAt: at.Add(-9 * time.Second)},
		},
		Shadows: fanout.Shadows{Since: at.Add(-24 * time.Hour), Matched: 5120},
	}
}

func TestStatusOfAStepThatIsSafe(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, printStatus(&out, false, dual(), ""))
	require.Equal(t, `EXCHANGE             EXISTS  TYPE    DURABLE
smap.events          yes     topic   yes
smtp_send_email_exc  yes     fanout  yes

QUEUE                  READY  UNACKED  OURS  FOREIGN  CAME IN 5 MIN
smtp_send_email        1      3        2     1        870
identity.email         0      0        2     0        0
identity.email.dead    0      0        0     0        0
identity.legacy        0      0        2     0        0
identity.legacy.dead   0      0        0     0        0
identity.subscription  0      0        2     0        0

READ BY OTHERS   CONSUMER     CONNECTION
smtp_send_email  ctag-main-1  smtp-worker at 10.0.3.7:51234 -> 10.0.0.5:5672

OTHERS PUBLISH TO    CONNECTION
smtp_send_email_exc  old-api at 10.0.3.8:50000 -> 10.0.0.5:5672

BINDING  FROM                 TO                    KEY             WHOSE
queue    smtp_send_email_exc  smtp_send_email       -               the previous release's
queue    smap.events          identity.email        email.#         ours
queue    smap.events          billing.subscription  subscription.#  another team's

PROCESS     ROLE      VERSION  PHASE  SEEN
api-1       api       2.3      dual   3s ago
consumer-1  consumer  2.3      dual   9s ago

rows for smtp_send_email_exc in the outbox: 2
mails compared since 2026-02-28 03:00:00: 5120 match, 0 differ

safe to go to cutover
`, out.String())
}

// troubled answers facts of a night on which nothing fits.
func troubled() fanout.Facts {
	f := dual()
	f.Topic.Type, f.Topic.Durable = "", nil
	f.Fanout.Type, f.Fanout.Durable = "", nil
	f.Old.Readers, f.Old.Unacked, f.Old.Arrived = nil, nil, nil
	f.Email.Retry[1].Ready = 7
	f.Email.Dead = event.QueueState{Name: "identity.email.dead", Readers: ours(0)}
	f.Fanout.Writers = nil
	f.Others, f.Bindings, f.OfTopic = []event.QueueState{}, nil, nil
	f.Processes[0].SeenAt = at.Add(-2 * time.Minute)
	f.Processes[1].StoppedAt = new(at.Add(-time.Minute))
	f.Shadows.Matched, f.Shadows.Mismatched = 5, 2
	f.Shadows.Fields = map[string]int{"subject": 1, "body": 2}
	f.Shadows.LastMismatch = new(at.Add(-time.Hour))
	f.Shadows.MismatchedEvents = []string{"evt_b", "evt_a"}
	f.Unknown = []string{"who is bound to smtp_send_email_exc: the management API cannot be reached"}
	return f
}

func TestStatusOfAStepThatIsNotSafe(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.EqualError(t, printStatus(&out, false, troubled(), fanout.Cutover), "it is not safe to go to cutover")
	require.Equal(t, `EXCHANGE             EXISTS  TYPE  DURABLE
smap.events          yes     ?     ?
smtp_send_email_exc  yes     ?     ?

QUEUE                    READY    UNACKED  OURS       FOREIGN  CAME IN 5 MIN
smtp_send_email          1        ?        3, whose?  ?        ?
identity.email           0        0        2          0        0
identity.email.retry.5s  7        0        0          0        0
identity.email.dead      missing  -        -          -        -
identity.legacy          0        0        2          0        0
identity.legacy.dead     0        0        0          0        0

PROCESS     ROLE      VERSION  PHASE  SEEN
api-1       api       2.3      dual   2m0s ago, silent since
consumer-1  consumer  2.3      dual   stopped 1m0s ago

rows for smtp_send_email_exc in the outbox: 2
mails compared since 2026-02-28 03:00:00: 5 match, 2 differ
  2 differ in body
  1 differ in subject
  the last at 2026-03-01 02:00:00; newest events: evt_b, evt_a
cannot know who is bound to smtp_send_email_exc: the management API cannot be reached

not yet: smap.events is not a durable topic exchange: nothing can be published there; find out who declared it otherwise, delete it and restart our processes
not yet: no consumer process of ours is alive: deploy the consumers first, they leave last
not yet: 2 of 7 mails compared since 2026-02-28 03:00 would have differed (body 2, subject 1): look at the versions that run and at the events named above; once it is repaired, count from then on with --since
not yet: cannot know whether another team is bound to smtp_send_email_exc: make the management API answer (RABBITMQ_MANAGEMENT_URL) and ask again
`, out.String())
}

func TestWarningsDoNotMakeAStepUnsafe(t *testing.T) {
	t.Parallel()
	f := dual()
	f.Email.Dead.Ready = 1
	f.Bindings = append(f.Bindings, event.Binding{Source: "theirs", Destination: fanout.Exchange, Kind: "exchange"})
	f.Fanout = event.ExchangeState{Name: fanout.Exchange}
	var out bytes.Buffer
	require.NoError(t, printStatus(&out, false, f, fanout.Prepare))
	require.Contains(t, out.String(), "smtp_send_email_exc  no      -      -\n")
	require.Contains(t, out.String(), "exchange  theirs               smtp_send_email_exc   -               another team's\n")
	require.Contains(t, out.String(), "warning: 1 dead letters in identity.email.dead: look with `consumer dlq list identity.email`\nsafe to go to prepare\n")
}

func TestStatusAsJSON(t *testing.T) {
	t.Parallel()
	var answer struct {
		To       string
		Safe     bool
		Blockers []string
		Unknown  []string
		Warnings []string
		Facts    struct {
			Fanout    event.ExchangeState `json:"fanout_exchange"`
			Old       event.QueueState    `json:"fanout_queue"`
			Bindings  []event.Binding
			Rows      int              `json:"outbox_rows"`
			Processes []fanout.Process `json:"processes"`
			Shadows   fanout.Shadows   `json:"comparison"`
			Unknown   []string         `json:"cannot_know"`
		}
	}
	var out bytes.Buffer
	require.NoError(t, printStatus(&out, true, dual(), ""))
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
	require.Error(t, printStatus(&out, true, troubled(), fanout.Cutover))
	require.NoError(t, json.Unmarshal(out.Bytes(), &answer))
	require.False(t, answer.Safe)
	require.Len(t, answer.Blockers, 3)
	require.Len(t, answer.Unknown, 1)
	require.Len(t, answer.Facts.Unknown, 1)
	require.Nil(t, answer.Facts.Bindings, "null is what is not known")
	require.Contains(t, out.String(), `"bindings": null`)
}

func TestWhatACleanupTells(t *testing.T) {
	t.Parallel()
	both := []string{"queue smtp_send_email", "exchange smtp_send_email_exc"}
	refused := fanout.Verdict{Blockers: []string{"somebody reads it"}, Unknown: []string{"who is bound"}, Warnings: []string{}}
	broken := errors.New("the broker refused")
	for name, c := range map[string]struct {
		dryRun  bool
		cleanup app.Cleanup
		failed  error
		text    string
		err     error
	}{
		"done":        {false, app.Cleanup{Verdict: fanout.Verdict{Safe: true}, Removed: both}, nil, "deleted queue smtp_send_email\ndeleted exchange smtp_send_email_exc\n", nil},
		"dry run":     {true, app.Cleanup{Verdict: fanout.Verdict{Safe: true}, Removed: both}, nil, "would delete queue smtp_send_email\nwould delete exchange smtp_send_email_exc\n", nil},
		"nothing":     {false, app.Cleanup{Verdict: fanout.Verdict{Safe: true}}, nil, "nothing to do\n", nil},
		"refused":     {false, app.Cleanup{Verdict: refused}, nil, "not yet: somebody reads it\nnot yet: cannot know who is bound\n", errCleanupRefused},
		"refused dry": {true, app.Cleanup{Verdict: refused}, nil, "not yet: somebody reads it\nnot yet: cannot know who is bound\n", errCleanupRefused},
		"half":        {false, app.Cleanup{Verdict: fanout.Verdict{Safe: true}, Removed: both[:1]}, broken, "deleted queue smtp_send_email\n", broken},
		"not judged":  {false, app.Cleanup{}, broken, "", broken},
	} {
		var out bytes.Buffer
		require.ErrorIs(t, printCleanup(&out, c.dryRun, c.cleanup, c.failed), c.err, name)
		require.Equal(t, c.text, out.String(), name)
	}
}

func TestAPhaseThatThereIsNot(t *testing.T) {
	t.Parallel()
	root := Consumer()
	root.SetArgs([]string{"fanout", "status", "--to", "done"})
	root.SetOut(io.Discard)
	require.EqualError(t, root.Execute(), `--to "done" is not a phase; there are [prepare dual cutover complete]`)
}
