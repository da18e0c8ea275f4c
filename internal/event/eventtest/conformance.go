package eventtest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

// Subject is a broker under test.
type Subject struct {
	Sender  event.Sender
	Consume func(ctx context.Context, consumers []event.Consumer) error // until ctx ends; one process's consumer
	Dead    func(queue string) ([]event.DeadLetter, error)
}

// NewSubject makes a broker that has exactly these queues, empty, and takes them away when the test ends. drain is
// its drain timeout.
type NewSubject func(t *testing.T, queues []event.Queue, drain time.Duration) Subject

// Conformance is what a broker has to do to be one. Every case has queues and routing keys of its own, so that runs
// share a server without meeting.
func Conformance(t *testing.T, newSubject NewSubject) {
	for name, check := range map[string]func(*bench){
		"a message goes to every queue whose pattern matches, once":  routing,
		"mandatory without a queue is unroutable, in its place":      unroutable,
		"the default exchange addresses a queue":                     defaultExchange,
		"a message arrives as it was sent":                           properties,
		"as many handlers at a time as the queue has workers":        workers,
		"done and dropped messages are gone":                         gone,
		"permanent: dead with its reason, the next at once":          permanent,
		"poison: dead with the right reason":                         poison,
		"errors climb the levels, and the message stays itself":      ladder,
		"tried for too long: dead as exhausted":                      exhausted,
		"not yet does not count as a try":                            notYet,
		"a panic is retried and harms no neighbour":                  panics,
		"a long level does not hold up a short one":                  levels,
		"shutdown lets a running handler finish":                     drained,
		"shutdown gives back what was cut or not begun, untried":     cut,
		"a failing message does not use its tries while it is cut":   cutRetry,
		"a paused lane tries one message and fails none":             pausedLane,
		"a probe that ends without success passes the probe on":      probePassesOn,
		"a probe that takes long gives way to the next":              probeGivesWay,
		"pauses are no crash loop, however many":                     flappingLane,
		"a stop in a pause gives everything back":                    stoppedLane,
		"a paused lane does not hold up another queue":               laneBeside,
		"a halted lane takes nothing, and loses nothing":             haltedLane,
		"the observer sees every delivery with its own decision":     observer,
		"the handler's context is the observer's and ends by itself": contexts,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(&bench{T: t, run: "t" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12], newSubject: newSubject})
		})
	}
}

// bench is one case's broker.
type bench struct {
	*testing.T
	Subject
	run        string // the first word of every name of this case
	newSubject NewSubject
	queues     []event.Queue
}

// forever is a level, and an age, that no test reaches.
const forever = time.Hour

// open makes the broker with one queue per binding. Without levels there is one that no test reaches.
func (b *bench) open(policy event.Policy, workers int, drain time.Duration, bindings ...[]string) {
	b.Helper()
	if len(policy.Levels) == 0 {
		policy.Levels = []time.Duration{forever}
	}
	if policy.GiveUpAfter == 0 {
		policy.GiveUpAfter = forever
	}
	if len(bindings) == 0 {
		bindings = [][]string{{"#"}}
	}
	for i, patterns := range bindings {
		q := event.Queue{
			Name: "identity.test." + b.run + "." + string(rune('a'+i)), Retry: policy, Workers: workers, Prefetch: 10,
		}
		for _, p := range patterns {
			q.Bindings = append(q.Bindings, b.run+"."+p)
		}
		b.queues = append(b.queues, q)
	}
	b.Subject = b.newSubject(b.T, b.queues, drain)
}

// note is the payload of these tests.
type note struct {
	Text string `json:"text"`
}

func (n note) Validate() error {
	if n.Text == "" {
		return errors.New("data lacks text")
	}
	return nil
}

func (b *bench) key(word string) event.RoutingKey { return event.RoutingKey(b.run + "." + word) }

func (b *bench) message(word string) event.Message {
	b.Helper()
	m, err := event.Encode(event.Event{
		ID: event.NewID(), Key: b.key(word), Time: time.Now(), Data: note{Text: word},
	})
	require.NoError(b, err)
	return m
}

// send sends the way the relay does: what is unavailable is sent again. It returns one error per message.
func (b *bench) send(messages ...event.Message) []error {
	b.Helper()
	return SendAll(b.T, b.Sender, messages...)
}

// SendAll sends until every message has a result other than event.ErrUnavailable, and returns the results.
func SendAll(t testing.TB, sender event.Sender, messages ...event.Message) []error {
	t.Helper()
	results := make([]error, len(messages))
	open := make([]int, len(messages))
	for i := range open {
		open[i] = i
	}
	require.Eventually(t, func() bool {
		batch := make([]event.Message, len(open))
		for i, at := range open {
			batch[i] = messages[at]
		}
		sent := sender.Send(context.Background(), batch)
		var again []int
		for i, at := range open {
			if results[at] = sent[i]; errors.Is(sent[i], event.ErrUnavailable) {
				again = append(again, at)
			}
		}
		open = again
		return len(open) == 0
	}, patience, 5*time.Millisecond, "the broker stays unavailable")
	return results
}

func (b *bench) mustSend(messages ...event.Message) {
	b.Helper()
	for _, err := range b.send(messages...) {
		require.NoError(b, err)
	}
}

// consumption is a running consumer of all queues of a bench.
type consumption struct {
	*Observer
	stop func() // ends it, and waits until it has ended
	end  context.CancelFunc
}

func (b *bench) consume(handle event.Handler) *consumption {
	b.Helper()
	return b.consumeIn(nil, handle)
}

// consumeIn is consume with a lane for the first queue.
func (b *bench) consumeIn(lane *event.Lane, handle event.Handler) *consumption {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &consumption{Observer: NewObserver(), end: cancel}
	consumers := make([]event.Consumer, len(b.queues))
	for i, q := range b.queues {
		consumers[i] = event.Consumer{
			Queue:    q,
			Handle:   event.Chain(handle, event.Limit(q.Retry, time.Now), event.Recover),
			Observer: c.Observer,
		}
	}
	consumers[0].Lane = lane
	ended := make(chan error, 1)
	go func() { ended <- b.Consume(ctx, consumers) }()
	stopped := false
	c.stop = func() {
		b.Helper()
		cancel()
		if !stopped {
			stopped = true
			require.NoError(b, Next(b.T, ended))
		}
	}
	b.Cleanup(c.stop)
	return c
}

// next returns the next observation and checks what was decided.
func (b *bench) next(c *consumption, action event.Action, outcome string) Observation {
	b.Helper()
	seen := Next(b.T, c.Seen)
	require.Equal(b, action, seen.Decision.Action, "%+v, %v", seen.Decision, seen.Err)
	require.Equal(b, outcome, seen.Decision.Outcome)
	return seen
}

// dead returns the only dead letter of the first queue.
func (b *bench) dead() event.DeadLetter {
	b.Helper()
	letters := b.allDead()
	require.Len(b, letters, 1)
	return letters[0]
}

func (b *bench) allDead() []event.DeadLetter {
	b.Helper()
	letters, err := b.Dead(b.queues[0].Name)
	require.NoError(b, err)
	return letters
}

func ids(messages ...event.Message) []string {
	out := make([]string, len(messages))
	for i, m := range messages {
		out[i] = m.ID
	}
	return out
}
