//go:build e2e

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// group is how many people do something, one after the other, to measure how long it takes.
const group = 12

// rounds is how often a measurement is repeated that is out of bounds: a fault that holds up requests does so every
// time, other work on the machine does not.
const rounds = 3

// day compares a bad day with a good one: requests take as long on both.
type day struct {
	register, login spans // on the good day
	verify          spans
	waiting         []*person // registered on the good day, to be verified on the bad one
	registered      []*person // on the bad day: their mails are owed
}

// newDay measures the good day.
func newDay(t *testing.T, s *harness.TestSystem) *day {
	t.Helper()
	d := &day{}
	var people []*person
	d.register, people = measureRegister(t, s)
	more := people
	_, d.waiting = measureRegister(t, s)
	for _, p := range append(more, d.waiting...) {
		p.readMail(t, s)
	}
	d.verify = measure(people, func(p *person) { p.verify(t) })
	d.login = measureLogin(t, people)
	return d
}

// compareBadDay measures the bad day. Its p50 may be 1.2 times, its p99 (here: the slowest) twice that of the good day,
// plus what a busy machine adds to figures this small. What waits for something broken waits for seconds.
func (d *day) compareBadDay(t *testing.T, s *harness.TestSystem) {
	t.Helper()
	d.compare(t, "register", d.register, func() spans {
		spans, people := measureRegister(t, s)
		d.registered = append(d.registered, people...)
		return spans
	})
	waiting := d.waiting
	d.compare(t, "verify", d.verify, func() spans {
		some := waiting[:group/rounds] // a person verifies once
		waiting = waiting[len(some):]
		return measure(some, func(p *person) { p.verify(t) })
	})
	for _, p := range waiting {
		p.verify(t)
	}
	d.compare(t, "login", d.login, func() spans { return measureLogin(t, d.waiting) })
	for _, p := range d.waiting {
		require.Equal(t, "trialing", mySubscription(t, p).Status)
	}
}

func (d *day) compare(t *testing.T, what string, good spans, again func() spans) {
	t.Helper()
	var bad spans
	for range rounds {
		bad = again()
		t.Logf("%s: p50 %s, was %s; slowest %s, was %s", what, bad.median(), good.median(), bad.slowest(), good.slowest())
		if bad.median() <= good.median()*12/10+max(150*time.Millisecond, good.median()) && bad.slowest() <= 2*good.slowest()+time.Second {
			return
		}
	}
	require.Fail(t, "requests wait for what is broken", "%s: p50 %s, was %s; slowest %s, was %s",
		what, bad.median(), good.median(), bad.slowest(), good.slowest())
}

// checkCaughtUp checks that every mail arrives once, and that every state is in Redis.
func (d *day) checkCaughtUp(t *testing.T, s *harness.TestSystem) {
	t.Helper()
	for _, p := range d.registered {
		p.code = oneMail(t, s, p.email).Code()
	}
	for _, p := range d.waiting {
		subscriptionState(t, s, p.id, "trialing")
		require.Len(t, s.Mailbox.All(p.email), 1)
	}
	d.registered[0].verify(t)
	subscriptionState(t, s, d.registered[0].id, "trialing")
	s.OutboxEmpty()
	for _, queue := range []string{emailQueue, subscriptionQueue} {
		require.Zero(t, s.QueueLength(queue+".dead"))
	}
	logsHideSecrets(t, s, append(d.registered, d.waiting...)...)
}

type spans []time.Duration

func measure(people []*person, do func(*person)) spans {
	spans := make(spans, len(people))
	for i, p := range people {
		began := time.Now()
		do(p)
		spans[i] = time.Since(began)
	}
	slices.Sort(spans)
	return spans
}

func (s spans) median() time.Duration  { return s[len(s)/2].Round(time.Millisecond / 10) }
func (s spans) slowest() time.Duration { return s[len(s)-1].Round(time.Millisecond / 10) }

func measureRegister(t *testing.T, s *harness.TestSystem) (spans, []*person) {
	t.Helper()
	people := make([]*person, group)
	for i := range people {
		people[i] = &person{email: harness.Email(), client: s.Client()}
	}
	spans := measure(people, func(p *person) { want(t, 201)(p.client.Register(t.Context(), p.email, harness.Password)) })
	for _, p := range people {
		p.id = userID(t, s, p.email)
	}
	return spans, people
}

func measureLogin(t *testing.T, people []*person) spans {
	t.Helper()
	return measure(people, func(p *person) { want(t, 200)(p.client.Login(t.Context(), p.email, harness.Password, false)) })
}
