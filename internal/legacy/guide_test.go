package legacy

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/docs/doctest"
	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/heartbeat"
)

// The migration guide shows what the commands print.
func TestGuide(t *testing.T) {
	t.Parallel()
	// trimmed returns what was printed as a page shows it: the tables leave spaces at the ends of their lines.
	trimmed := func(printed string) string {
		lines := strings.Split(printed, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		return strings.Join(lines, "\n")
	}
	seen := time.Date(2026, 11, 24, 4, 21, 29, 0, time.UTC)

	t.Run("status in week 2", func(t *testing.T) {
		t.Parallel()
		old, email := known(Queue, 1), known("identity.email", 1)
		old.Consumers, old.Arrived, email.Arrived = 2, new(6), new(3)
		old.Readers = append(old.Readers, eventmq.Reader{Tag: "ctag-1", Connection: "10.0.4.17:60210 -> 10.0.2.5:5672"})
		stopped := heartbeat.Process{
			ID: "01a20bc8-d313-700a-b680-b8f9c1d4e476", Role: "api", Version: "v1.4.0", Note: "prepare", SeenAt: seen.Add(-17 * time.Second),
		}
		stopped.StoppedAt = &stopped.SeenAt
		var out bytes.Buffer
		require.EqualError(t, printStatus(&out, false, Facts{
			At:     seen,
			Topic:  eventmq.ExchangeState{Name: event.Exchange, Exists: true, Type: "topic", Durable: new(true)},
			Fanout: eventmq.ExchangeState{Name: Exchange, Exists: true, Type: "fanout", Durable: new(true)},
			Old:    old,
			Email:  Ladder{Main: email, Dead: known("identity.email.dead", 0)},
			Legacy: Ladder{Main: known("identity.legacy", 1), Dead: known("identity.legacy.dead", 0)},
			Others: []eventmq.QueueState{
				known("identity.subscription", 1), known("identity.subscription.dead", 0), known("crm.mails", 0),
			},
			Bindings: []eventmq.Binding{
				{Source: Exchange, Destination: "crm.mails", Kind: "queue"}, {Source: Exchange, Destination: Queue, Kind: "queue"},
			},
			OfTopic: []eventmq.Binding{
				{Source: event.Exchange, Destination: "identity.email", Kind: "queue", Key: "email.#"},
				{Source: event.Exchange, Destination: "identity.subscription", Kind: "queue", Key: "subscription.#"},
			},
			Processes: []heartbeat.Process{
				stopped,
				{ID: "01a20bc9-57fd-7d18-93d7-b7dfb1e460a1", Role: "api", Version: "v1.4.0", Note: "dual", SeenAt: seen.Add(-5 * time.Second)},
				{ID: "01a20bc9-3c3f-7922-9b11-1ae942d65e64", Role: "consumer", Version: "v1.4.0", Note: "dual", SeenAt: seen.Add(-2 * time.Second)},
			},
			Shadows: Shadows{Since: seen.Add(-24 * time.Hour), Matched: 3},
		}, Cutover), "it is not safe to go to cutover")
		doctest.Equal(t, "status-dual",
			trimmed("$ consumer fanout status\n"+out.String())+"consumer: it is not safe to go to cutover\n")
	})

	t.Run("what speaks against complete in week 4", func(t *testing.T) {
		t.Parallel()
		f := calm(Cutover)
		f.Processes = append(f.Processes, process("api", Dual, time.Minute), process("consumer", Dual, time.Minute))
		f.Old.Arrived = new(8)
		var out bytes.Buffer
		require.NoError(t, texts.ExecuteTemplate(&out, "verdict", Judge(f, Complete)))
		doctest.Equal(t, "status-cutover",
			"$ consumer fanout status | tail -n 2\n"+out.String()+"consumer: it is not safe to go to complete\n")
	})

	t.Run("cleanup", func(t *testing.T) {
		t.Parallel()
		c := Cleanup{Verdict: Verdict{Safe: true}, Removed: []string{"queue " + Queue, "exchange " + Exchange}}
		out := bytes.NewBufferString("$ consumer fanout cleanup --dry-run\n")
		require.NoError(t, printCleanup(out, true, c, nil))
		out.WriteString("$ consumer fanout cleanup\n")
		require.NoError(t, printCleanup(out, false, c, nil))
		doctest.Equal(t, "cleanup", out.String())
	})
}
