package legacy

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
)

func TestSender(t *testing.T) {
	t.Parallel()
	t.Run("without a connection, and once its context has ended, a copy is unavailable at once", func(t *testing.T) {
		t.Parallel()
		s := NewSender(options("amqp://127.0.0.1:1", t.Name(), nil), true)
		require.NoError(t, s.Blocked())
		require.ErrorIs(t, s.Send(context.Background(), copyNamed("one")), event.ErrUnavailable)
		s.live.Store(&session{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, s.Send(ctx, copyNamed("one")), event.ErrUnavailable)
	})
	t.Run("a blocked broker is sent nothing", func(t *testing.T) {
		t.Parallel()
		s := NewSender(options("amqp://127.0.0.1:1", t.Name(), nil), true)
		live := &session{sender: s}
		s.live.Store(live)
		setAlarm(&live.alarm, true)
		require.EqualError(t, s.Blocked(), "rabbitmq takes no messages: low on memory")
		require.ErrorIs(t, s.Send(context.Background(), copyNamed("one")), event.ErrUnavailable)
	})
	// One that takes messages again and does not confirm is a dead connection like any other.
	t.Run("a broker that is silent after its alarm is gone", func(t *testing.T) {
		t.Parallel()
		var cause atomic.Pointer[error]
		s := &session{sender: &Sender{patience: 5 * time.Millisecond}, end: func(err error) { cause.Store(&err) }}
		setAlarm(&s.alarm, true)
		result := make(chan error, 1)
		go func() { result <- s.await(context.Background(), &amqp.DeferredConfirmation{}, "one") }() // never confirmed
		select {
		case err := <-result:
			require.Fail(t, "the alarm is not over", "%v", err)
		case <-time.After(50 * time.Millisecond): // time itself is what this needs
		}
		setAlarm(&s.alarm, false)
		require.ErrorIs(t, eventtest.Next(t, result), event.ErrUnavailable)
		require.ErrorIs(t, *cause.Load(), errNoConfirm)
	})
	t.Run("a stop gives up a copy that a blocked broker has", func(t *testing.T) {
		t.Parallel()
		s := &session{sender: &Sender{patience: time.Hour}, end: func(error) { panic("the connection is not at fault") }}
		ctx, stop := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() { result <- s.await(ctx, &amqp.DeferredConfirmation{}, "one") }()
		setAlarm(&s.alarm, true)
		stop()
		require.ErrorIs(t, eventtest.Next(t, result), event.ErrUnavailable)
	})
	onServer(t, map[string]func(*testing.T){
		"declares exactly what the previous release does":       declaresAsOld,
		"at once: declares unasked":                             atOnce,
		"at once: a refusal is the copies' affair":              atOnceRefused,
		"on demand: declares before the first copy":             onDemand,
		"on demand: a refused topology keeps the copy":          onDemandRefused,
		"a broker that does not answer is gone":                 onDemandFrozen,
		"what has gone is there again before the next copy":     besideAnother,
		"a deleted exchange costs a channel":                    deletedExchange,
		"a copy that the broker rejects costs a channel":        rejectedCopy,
		"a copy that cannot be written is not sent":             unwritableCopy,
		"a deleted queue is noticed by the return":              deletedQueue,
		"a copy is confirmed or the connection is given up":     confirmWait,
		"alarm: a copy in flight is waited for":                 blockedInFlight,
		"alarm: until its send ends":                            blockedGivenUp,
		"a stop lets what is on its way be confirmed":           stopInFlight,
		"a return of a copy that was given up means no other":   lateReturn,
		"an exchange of another kind is unroutable, not a loss": otherKind,
	})
}

// setAlarm tells a connection of an alarm's beginning, or its end, as the broker does.
func setAlarm(a *eventmq.Alarm, active bool) {
	notices := make(chan amqp.Blocking, 1)
	notices <- amqp.Blocking{Active: active, Reason: "low on memory"}
	close(notices)
	a.Watch(notices, zerolog.Nop())
}

// startSender runs a Sender until the test ends, and sends a copy so that it is connected.
func startSender(t *testing.T, broker string, declares bool, change ...func(*Sender)) *Sender {
	t.Helper()
	o := options(broker, t.Name(), nil)
	o.Heartbeat = time.Minute // neither a freeze nor an alarm is noticed by it
	s := NewSender(o, declares)
	for _, c := range change {
		c(s)
	}
	run(t, s.Run)
	require.Eventually(t, func() bool { return s.live.Load() != nil }, 15*time.Second, time.Millisecond)
	return s
}

func declaredOnce(s *Sender) { s.freshFor = time.Hour }

// sendSoon sends until the copy is confirmed.
func sendSoon(t *testing.T, s *Sender, id string) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Send(context.Background(), copyNamed(id)) == nil }, 15*time.Second, 20*time.Millisecond)
}

func send(s *Sender, id string) error { return s.Send(context.Background(), copyNamed(id)) }

// declaresAsOld: neither side's declaration stands in the way of the other's, whichever comes first.
func declaresAsOld(t *testing.T) {
	for _, oldFirst := range []bool{false, true} {
		broker := newVirtualHost(t)
		ours := func() { require.NoError(t, Declare(rawChannel(t, broker))) }
		if !oldFirst {
			ours()
		}
		old := rawChannel(t, broker)
		require.NoError(t, old.ExchangeDeclare("smtp_send_email_exc", "fanout", true, false, false, false, nil))
		_, err := old.QueueDeclare("smtp_send_email", true, false, false, false, nil)
		require.NoError(t, err)
		require.NoError(t, old.QueueBind("smtp_send_email", "", "smtp_send_email_exc", false, nil))
		if oldFirst {
			ours()
		}
		publishRaw(t, old, copyNamed("bound"))
		require.Equal(t, "bound", get(t, old, "smtp_send_email").MessageId)
	}
}

func atOnce(t *testing.T) {
	broker := newVirtualHost(t)
	startSender(t, broker, true)
	require.True(t, exchangeThere(t, broker))
}

func atOnceRefused(t *testing.T) {
	broker := newVirtualHost(t)
	raw := rawChannel(t, broker)
	require.NoError(t, raw.ExchangeDeclare(Exchange, amqp.ExchangeDirect, true, false, false, false, nil))
	s := startSender(t, broker, true)
	live := s.live.Load()
	require.ErrorIs(t, send(s, "waits"), event.ErrUnroutable)
	require.NoError(t, raw.ExchangeDelete(Exchange, false, false))
	require.NoError(t, send(s, "waits"))
	require.Same(t, live, s.live.Load())
}

func onDemand(t *testing.T) {
	broker := newVirtualHost(t)
	var log lines
	s := startSender(t, broker, false, func(s *Sender) { s.options = options(broker, t.Name(), &log) })
	require.False(t, exchangeThere(t, broker), "declared without being asked for")
	require.NoError(t, send(s, "first"))
	require.NoError(t, send(s, "second"))
	require.Equal(t, 2, ready(t, rawChannel(t, broker), Queue))
	require.Equal(t, 1, log.count("for a late copy"))
}

func onDemandRefused(t *testing.T) {
	broker := newVirtualHost(t)
	raw := rawChannel(t, broker)
	require.NoError(t, raw.ExchangeDeclare(Exchange, amqp.ExchangeDirect, true, false, false, false, nil))
	s := startSender(t, broker, false)
	live := s.live.Load()
	err := send(s, "waits")
	require.ErrorIs(t, err, event.ErrUnroutable)
	require.NotErrorIs(t, err, event.ErrUnavailable)
	require.ErrorContains(t, err, "PRECONDITION_FAILED")
	require.NoError(t, raw.ExchangeDelete(Exchange, false, false))
	require.NoError(t, send(s, "waits"))
	require.Same(t, live, s.live.Load())
}

// otherKind: a queue of another kind is refused as an exchange is.
func otherKind(t *testing.T) {
	broker := newVirtualHost(t)
	_, err := rawChannel(t, broker).QueueDeclare(Queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	require.NoError(t, err)
	s := startSender(t, broker, true)
	require.ErrorIs(t, send(s, "waits"), event.ErrUnroutable)
}

// onDemandFrozen: the declaration hangs. The message is not at fault.
func onDemandFrozen(t *testing.T) {
	broker := newVirtualHost(t)
	proxy, url := startProxy(t, broker)
	s := startSender(t, url, false, func(s *Sender) { s.patience = 500 * time.Millisecond })
	freeze(t, proxy)
	err := send(s, "late")
	require.ErrorIs(t, err, event.ErrUnavailable)
	require.NotErrorIs(t, err, event.ErrUnroutable)
	require.ErrorIs(t, err, eventmq.ErrNoAnswer)
	thaw(proxy)
	sendSoon(t, s, "late")
	require.Equal(t, 1, ready(t, rawChannel(t, broker), Queue))
}

// besideAnother: another team is bound to the exchange, so that the broker confirms and returns nothing when only its
// queue gets the message. Whatever of ours has gone is there again before the next is sent.
func besideAnother(t *testing.T) {
	for _, declares := range []bool{true, false} {
		broker := newVirtualHost(t)
		raw := rawChannel(t, broker)
		s := startSender(t, broker, declares, func(s *Sender) {
			require.Equal(t, time.Second, s.freshFor)
			s.freshFor = time.Nanosecond
		})
		require.NoError(t, send(s, "first"))
		live := s.live.Load()
		other, err := raw.QueueDeclare("", false, true, true, false, nil)
		require.NoError(t, err)
		require.NoError(t, raw.QueueBind(other.Name, "", Exchange, false, nil))
		for i, vanish := range []func() error{
			func() error { return raw.QueueUnbind(Queue, "", Exchange, nil) },
			func() error { _, err := raw.QueueDelete(Queue, false, false, false); return err },
			func() error { // which takes the other binding with it, and is our channel's end without being asked first
				_, err := raw.QueueDelete(Queue, false, false, false)
				return cmp.Or(err, raw.ExchangeDelete(Exchange, false, false))
			},
		} {
			before := ready(t, raw, Queue)
			require.NoError(t, vanish())
			id := fmt.Sprint("after ", i)
			require.NoError(t, send(s, id))
			if i > 0 {
				before = 0
			}
			require.Equal(t, before+1, ready(t, raw, Queue), id)
		}
		require.Same(t, live, s.live.Load())
	}
}

// deletedExchange: publishing to it closes the channel. The next copy declares it.
func deletedExchange(t *testing.T) {
	broker := newVirtualHost(t)
	raw := rawChannel(t, broker)
	s := startSender(t, broker, false, declaredOnce)
	require.NoError(t, send(s, "declares"))
	live := s.live.Load()
	_, err := raw.QueueDelete(Queue, false, false, false)
	require.NoError(t, err)
	require.NoError(t, raw.ExchangeDelete(Exchange, false, false))
	require.ErrorIs(t, send(s, "late"), event.ErrUnavailable)
	require.NoError(t, send(s, "late"))
	require.Equal(t, "late", get(t, raw, Queue).MessageId)
	require.Same(t, live, s.live.Load(), "the connection was kept")
}

// rejectedCopy: a CC header that is no list closes the channel.
func rejectedCopy(t *testing.T) {
	broker := newVirtualHost(t)
	s := startSender(t, broker, true)
	sendSoon(t, s, "first")
	live := s.live.Load()
	bad := copyNamed("bad")
	bad.Headers = map[string]string{"CC": "everybody"}
	for range 3 {
		err := s.Send(context.Background(), bad)
		require.ErrorIs(t, err, event.ErrRejected)
		require.NotErrorIs(t, err, event.ErrUnavailable)
		require.NoError(t, send(s, "good"))
	}
	require.Same(t, live, s.live.Load(), "the connection was kept")
	require.Equal(t, 4, ready(t, rawChannel(t, broker), Queue))
}

func unwritableCopy(t *testing.T) {
	s := startSender(t, newVirtualHost(t), true)
	sendSoon(t, s, "first")
	channel := s.live.Load().channel
	require.ErrorIs(t, send(s, strings.Repeat("i", 256)), event.ErrRejected)
	require.False(t, channel.IsClosed())
}

func deletedQueue(t *testing.T) {
	broker := newVirtualHost(t)
	raw := rawChannel(t, broker)
	s := startSender(t, broker, false, declaredOnce)
	require.NoError(t, send(s, "declares"))
	live := s.live.Load()
	_, err := raw.QueueDelete(Queue, false, false, false)
	require.NoError(t, err)
	require.ErrorIs(t, send(s, "late"), event.ErrUnroutable)
	s.freshFor = 0
	require.NoError(t, send(s, "late"))
	require.Equal(t, "late", get(t, raw, Queue).MessageId)
	require.Same(t, live, s.live.Load())
}

// confirmWait: a frozen broker takes bytes into its socket and confirms nothing.
func confirmWait(t *testing.T) {
	broker := newVirtualHost(t)
	proxy, url := startProxy(t, broker)
	s := startSender(t, url, true, declaredOnce, func(s *Sender) { s.patience = 500 * time.Millisecond })
	require.NoError(t, send(s, "before"))
	freeze(t, proxy)
	require.ErrorIs(t, send(s, "one"), event.ErrUnavailable)
	thaw(proxy)
	sendSoon(t, s, "after")
	require.Equal(t, 2, ready(t, rawChannel(t, broker), Queue))
}

// alarmed is a sender on a connection that a broker has stopped reading after one copy, and that copy's result.
type alarmed struct {
	sender *Sender
	broker string
	live   *session
	proxy  *toxiproxy.Proxy
	result chan error
}

// underAlarm sends a copy to a broker that does not read on, and waits until its confirm is long overdue.
func underAlarm(t *testing.T, ctx context.Context) alarmed {
	t.Helper()
	broker := newVirtualHost(t)
	proxy, url := startProxy(t, broker)
	s := startSender(t, url, true, declaredOnce, func(s *Sender) { s.patience = time.Second })
	require.NoError(t, send(s, "warm"))
	a := alarmed{s, broker, s.live.Load(), proxy, make(chan error, 1)}
	holdBack(t, proxy)
	go func() { a.result <- s.Send(ctx, copyNamed("in flight")) }()
	require.Eventually(t, func() bool { // it is out before the broker says so, as with a real one
		return a.live.channel.GetNextPublishSeqNo() == 3
	}, 15*time.Second, time.Millisecond)
	setAlarm(&a.live.alarm, true)
	select {
	case err := <-a.result:
		require.Fail(t, "the alarm is not over", "%v", err)
	case <-time.After(5 * s.patience / 2): // time itself is what this needs
	}
	require.Same(t, a.live, s.live.Load(), "the connection stays")
	return a
}

func (a alarmed) over() {
	setAlarm(&a.live.alarm, false)
	thaw(a.proxy)
}

// blockedInFlight: an alarm longer than a confirm may take repeats nothing to readers who would not notice.
func blockedInFlight(t *testing.T) {
	a := underAlarm(t, context.Background())
	a.over()
	require.NoError(t, eventtest.Next(t, a.result))
	require.NoError(t, send(a.sender, "after"))
	require.Same(t, a.live, a.sender.live.Load())
	require.Equal(t, 3, ready(t, rawChannel(t, a.broker), Queue), "warm, in flight, after: each once")
}

// blockedGivenUp: a caller that cannot wait any longer gets an unknown outcome, which is the truth.
func blockedGivenUp(t *testing.T) {
	ctx, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	a := underAlarm(t, ctx)
	giveUp()
	require.ErrorIs(t, eventtest.Next(t, a.result), event.ErrUnavailable)
	require.Same(t, a.live, a.sender.live.Load())
	a.over()
	awaitReady(t, rawChannel(t, a.broker), Queue, 2)
}

// stopInFlight: the process stops while a copy is on its way.
func stopInFlight(t *testing.T) {
	broker := newVirtualHost(t)
	proxy, url := startProxy(t, broker)
	o := options(url, t.Name(), nil)
	s := NewSender(o, true)
	s.freshFor = time.Hour
	stop := run(t, s.Run)
	require.Eventually(t, func() bool { return s.live.Load() != nil }, 15*time.Second, time.Millisecond)
	require.NoError(t, send(s, "warm"))
	live := s.live.Load()
	holdBack(t, proxy)
	result := make(chan error, 1)
	go func() { result <- send(s, "in flight") }()
	require.Eventually(t, func() bool { return live.channel.GetNextPublishSeqNo() == 3 }, 15*time.Second, time.Millisecond)
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	require.Eventually(t, func() bool { return s.live.Load() == nil }, 15*time.Second, time.Millisecond)
	thaw(proxy)
	require.NoError(t, eventtest.Next(t, result))
	<-stopped
	require.Equal(t, 2, ready(t, rawChannel(t, broker), Queue))
}

// lateReturn: the broker returns a copy whose send had been given up by then.
func lateReturn(t *testing.T) {
	broker := newVirtualHost(t)
	s := startSender(t, broker, true, declaredOnce)
	require.NoError(t, send(s, "warm"))
	s.live.Load().returns <- amqp.Return{MessageId: "given up"}
	require.NoError(t, send(s, "next"))
}
