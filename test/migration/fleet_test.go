//go:build e2e

package migration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// dwell is how long a mixture of phases lasts: the mails of so many seconds.
const dwell = 1

// fleet is the processes of one walk.
type fleet struct {
	t      *testing.T
	s      *harness.TestSystem
	rate   int
	random *rand.Rand
	roles  map[role][]*harness.Process
	killed casualties
}

// start starts every process in the walk's first phase, our consumers before the publishers, and the load with them.
func start(t *testing.T, w walk, random *rand.Rand) *fleet {
	t.Helper()
	s := harness.New(t, harness.Options{})
	tap(s)
	f := &fleet{
		t: t, s: s, rate: w.rate, random: random,
		roles: map[role][]*harness.Process{}, killed: casualties{inHand: map[string]cause{}},
	}
	phase := "EVENTS_MIGRATION_PHASE=" + string(w.phases[0])
	for i := range pair {
		number := strconv.Itoa(i + 1)
		f.add(consumer, s.NewConsumer(phase))
		rate := "RATE=" + strconv.Itoa(w.rate/pair)
		f.add(publisher, s.NewProgram("./test/migration/publisher", "publisher-"+number, "", phase, rate))
	}
	for i := range w.old {
		name := "old-" + strconv.Itoa(i+1)
		f.add(oldConsumer, s.NewProgram("./test/migration/oldconsumer", name, `"message":"consuming"`, "NAME="+name))
	}
	for _, r := range []role{oldConsumer, consumer, publisher} {
		for _, p := range f.roles[r] {
			f.begin(r, p)
		}
	}
	return f
}

func (f *fleet) add(r role, p *harness.Process) { f.roles[r] = append(f.roles[r], p) }

// begin starts a process and waits until it works.
func (f *fleet) begin(r role, p *harness.Process) {
	f.t.Helper()
	require.NoError(f.t, p.Start(f.t.Context()))
	if r != oldConsumer {
		f.s.Ready(p)
	}
}

// change stops one process in order and starts it in its next phase.
func (f *fleet) change(c change) {
	f.t.Helper()
	p := f.roles[c.role][c.number]
	f.s.Terminate(p)
	p.Setenv("EVENTS_MIGRATION_PHASE", string(c.phase))
	f.begin(c.role, p)
}

// kill ends one of a role with SIGKILL at a random moment within the dwelling time, and starts it again.
func (f *fleet) kill(r role) {
	f.t.Helper()
	pause := time.Duration(f.random.Int64N(int64(dwell * time.Second)))
	select {
	case <-time.After(pause): // time itself is what this needs
	case <-f.t.Context().Done():
	}
	if r == broker {
		f.killBroker()
		f.t.Logf("killed the broker after %s", pause.Round(time.Millisecond))
		return
	}
	victim := f.roles[r][f.random.IntN(len(f.roles[r]))]
	require.NoError(f.t, victim.Kill())
	if r == oldConsumer {
		if last := received(victim, 0); len(last) > 0 {
			f.killed.inHand[last[len(last)-1]] = oldKilled
		}
	} else {
		f.killed.relays++
	}
	f.begin(r, victim)
	f.t.Logf("killed %s after %s", victim.Name, pause.Round(time.Millisecond))
}

// killBroker kills the broker and starts it again. An old consumer may go on with what it has received before, and the
// broker may not have written its last acks.
func (f *fleet) killBroker() {
	f.t.Helper()
	f.killed.broker++
	before := make([]int, len(f.roles[oldConsumer]))
	for i, p := range f.roles[oldConsumer] {
		before[i] = len(received(p, 0))
	}
	harness.Inject(f.t, harness.RabbitMQ.Kill)
	require.NoError(f.t, harness.RabbitMQ.Restart(f.t.Context()))
	for i, p := range f.roles[oldConsumer] {
		for _, event := range received(p, before[i]-lostAcks) {
			f.killed.inHand[event] = oldCut
		}
	}
}

// received returns the events whose copies an old consumer has logged as received, oldest first, from the given one on.
func received(p *harness.Process, from int) (events []string) {
	for _, said := range p.Log.Lines(0) {
		var l struct {
			Message string `json:"message"`
			Event   string `json:"message_id"`
		}
		if json.Unmarshal([]byte(said), &l) == nil && l.Message == "received" {
			events = append(events, l.Event)
		}
	}
	return events[min(max(from, 0), len(events)):]
}

// dwell waits until the fleet, as it is, has sent mails for a while.
func (f *fleet) dwell() {
	f.t.Helper()
	f.s.WaitReached(smtptest.EndOfData, f.s.Mailbox.Reached(smtptest.EndOfData)+f.rate*dwell)
}

// statistics is for how long the broker's figures can be out of date.
const statistics = 5 * time.Second

// land ends the load, waits until everything has drained, and stops the rest of the fleet.
func (f *fleet) land() {
	f.t.Helper()
	for _, p := range f.roles[publisher] {
		f.s.Terminate(p)
		require.False(f.t, p.Log.Contains("a registration failed"), "%s", p.Name)
	}
	f.s.OutboxEmpty()
	var since time.Time
	harness.Soon(f.t, func() error {
		err := f.drained()
		switch {
		case err != nil:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
			fallthrough
		case time.Since(since) <= statistics:
			err = fmt.Errorf("all has been quiet for %s", time.Since(since).Round(time.Second))
		}
		return err
	})
	for _, p := range slices.Concat(f.roles[consumer], f.roles[oldConsumer]) {
		f.s.Terminate(p)
	}
	queues, err := f.s.Queues(f.t.Context())
	require.NoError(f.t, err)
	for _, q := range queues {
		if !tapQueue(q.Name) {
			require.Zero(f.t, f.s.QueueLength(q.Name), "%s, with no consumer left", q.Name)
		}
	}
}

// drained returns an error that names a queue which holds messages, unacked ones and dead letters included, or of which
// that is unknown. The statistics know of unacked messages and are late; the queue itself is asked for the others.
func (f *fleet) drained() error {
	queues, err := f.s.Queues(f.t.Context())
	if err != nil {
		return err
	}
	for _, q := range queues {
		if tapQueue(q.Name) {
			continue
		}
		if q.Messages == nil {
			return fmt.Errorf("%s has no statistics yet", q.Name)
		}
		ready, err := f.s.System.QueueLength(f.t.Context(), q.Name)
		if err != nil {
			return err
		}
		if *q.Messages+ready > 0 {
			return fmt.Errorf("%s holds %d messages, %d of them ready", q.Name, *q.Messages, ready)
		}
	}
	return nil
}

func tapQueue(name string) bool { return name == fanoutTap || name == topicTap }
