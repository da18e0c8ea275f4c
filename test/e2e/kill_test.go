//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// TestKill kills our own processes with SIGKILL.
func TestKill(t *testing.T) {
	t.Run("apis and consumers at random moments under load", killAtRandom)
	t.Run("a consumer between the final dot and its record", killInMail)
	t.Run("a consumer whose mail has become useless", killInUsedMail)
	t.Run("a consumer at full prefetch, whose acks wait for each other", killAtFullPrefetch)
}

// killAtRandom kills apis and consumers at random moments under a steady stream of people, and starts them again.
func killAtRandom(t *testing.T) {
	const kills, perSecond, seed = 8, 10, 20260131
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	crowd := startCrowd(t, s, perSecond)
	random := rand.New(rand.NewPCG(seed, seed))
	t.Logf("seed %d", seed)
	crowd.waitVerified(5)
	for i := range kills {
		role := [][]*harness.Process{s.Consumers, s.APIs}[i%2]
		victim := role[random.IntN(len(role))]
		pause := time.Duration(random.Int64N(int64(1500 * time.Millisecond)))
		wait(t, pause)
		require.NoError(t, victim.Kill())
		require.NoError(t, victim.Start(t.Context()))
		t.Logf("%s killed after %s", victim.Name, pause.Round(time.Millisecond))
		crowd.waitVerified(perSecond)
	}
	crowd.finish()
	crowd.check(t, s, recorded, kills)
	for _, p := range s.Processes() {
		s.Ready(p)
	}
}

// oneMailAtATime has a consumer send one mail after the other, and wait for slow ones.
var oneMailAtATime = map[string]string{"EMAIL_WORKERS": "1", "SMTP_TIMEOUT": "5m"}

// wait waits for a random moment or longer than a timeout: time itself is what those tests need.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// killInMail kills a consumer between the server's final dot and its own record. The mail is repeated once its lease
// has ended, the same and flagged; other mails do not wait for that.
func killInMail(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Delay(time.Minute).Times(1))
	p := register(t, s)
	s.WaitReached(smtptest.EndOfData, 1)
	require.NoError(t, s.Consumers[0].Kill())

	killed := time.Now()

	second := s.NewConsumer()
	require.NoError(t, second.Start(t.Context()))
	other := registered(t, s)
	require.Empty(t, s.Mailbox.Accepted(p.email), "the lease is respected, and holds nothing up")
	p.readMail(t, s)
	t.Logf("taken over after %s", time.Since(killed).Round(100*time.Millisecond))
	mails := s.Mailbox.All(p.email)
	require.Len(t, mails, 2)
	require.Equal(t, mails[0].MessageID, mails[1].MessageID)
	s.WaitLine(second, mailEvent(t, s, p), `"outcome":"handled"`)
	repeated, err := second.Metric(t.Context(), "emails_repeated_total")
	require.NoError(t, err)
	require.EqualValues(t, 1, repeated)
	p.verify(t)
	other.verify(t)
}

// killInUsedMail kills a consumer that has a mail in hand whose code is used meanwhile. The mail is not sent again, and
// ends in the ledger.
func killInUsedMail(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Delay(time.Minute).Times(1))
	p := register(t, s)
	s.WaitReached(smtptest.EndOfData, 1)
	require.NoError(t, s.Consumers[0].Kill())
	p.code = s.Mailbox.All(p.email)[0].Code() // the server delivers what it has not accepted yet
	p.verify(t)

	require.NoError(t, s.NewConsumer().Start(t.Context()))
	harness.Soon(t, func() error {
		if state, class := ledger(t, s, mailEvent(t, s, p)); state != "superseded" || class != "ambiguous" {
			return fmt.Errorf("the mail is %s (%s)", state, class)
		}
		return nil
	})
	require.Len(t, s.Mailbox.All(p.email), 1)
}

// TestTerminate stops our processes in order, with SIGTERM.
func TestTerminate(t *testing.T) {
	t.Parallel()
	t.Run("a consumer finishes the mail in hand and returns the others", terminateConsumer)
	t.Run("rolling the apis under load loses no response", terminateAPIs)
}

// terminateConsumer stops a consumer that has one mail in hand and others waiting.
func terminateConsumer(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: oneMailAtATime})
	stopping := make(chan struct{})
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Until(stopping).Times(1))
	inHand := register(t, s)
	s.WaitReached(smtptest.EndOfData, 1)
	waiting := []*person{register(t, s), register(t, s)}
	s.OutboxEmpty()

	first := s.Consumers[0]
	go func() {
		if _, err := first.Log.Wait(t.Context(), 0, `"message":"stopping"`); err == nil {
			close(stopping)
		}
	}()
	s.Terminate(first)
	require.Len(t, s.Mailbox.Accepted(inHand.email), 1, "the mail in hand was finished")
	state, _ := ledger(t, s, mailEvent(t, s, inHand))
	require.Equal(t, "accepted", state)
	require.Equal(t, len(waiting), s.QueueLength(emailQueue), "what was finished is not redelivered")

	second := s.NewConsumer()
	require.NoError(t, second.Start(t.Context()))
	for _, p := range waiting {
		oneMail(t, s, p.email)
	}
	harness.Soon(t, func() error { return lengthIs(s, emailQueue, 0) })
	require.Len(t, s.Mailbox.All(""), 1+len(waiting))
	require.Zero(t, s.Count("SELECT sum(resends) FROM mail_deliveries"))
}

// terminateAPIs rolls the apis under load, behind a balancer that notices within half a second. Every request must get its
// response.
func terminateAPIs(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1, Env: map[string]string{"DRAIN_DELAY": "3s"}})
	recorded := recordEvents(t, s)
	crowd := startCrowd(t, s, 10)
	for range 2 {
		for _, api := range s.APIs {
			crowd.waitVerified(8)
			s.Terminate(api)
			require.NoError(t, api.Start(t.Context()))
			s.Ready(api)
		}
	}
	crowd.finish()
	require.Zero(t, crowd.lostAnswers())
	require.Zero(t, crowd.serverErrors())
	crowd.check(t, s, recorded, 0)
}

// TestConnections breaks what our processes have at the broker.
func TestConnections(t *testing.T) {
	t.Parallel()
	t.Run("the broker cuts every connection, again and again", cutAgain)
	t.Run("a late ack never acks another message", lateAck)
	t.Run("deleted queues, bindings and exchanges come back", topologyHeals)
}

// cutAgain cuts every connection of the service at the broker, again and again, under load.
func cutAgain(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	crowd := startCrowd(t, s, 8)
	for range 3 {
		crowd.waitVerified(8)
		harness.Soon(t, func() error {
			if cut := cutConnections(t, s); len(cut) == 0 {
				return errors.New("the broker knows of no connection")
			}
			return nil
		})
	}
	crowd.waitVerified(8)
	crowd.finish()
	require.Zero(t, crowd.lostAnswers())
	require.Zero(t, crowd.serverErrors())
	crowd.check(t, s, recorded, 3)
}

// lateAck finishes a mail after its connection was cut. That must not ack the message with the same delivery tag on the
// next connection.
func lateAck(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: oneMailAtATime})
	registered(t, s) // delivery 1
	reconnected := make(chan struct{})
	s.Mailbox.Script(
		smtptest.At(smtptest.EndOfData).Until(reconnected).Times(1),
		smtptest.At(smtptest.EndOfData).Hang(),
	)
	slow := register(t, s) // delivery 2, in hand; delivery 1 of the next connection
	s.WaitReached(smtptest.EndOfData, 2)
	next := register(t, s) // delivery 3, waiting; delivery 2 of the next connection
	s.OutboxEmpty()

	const connection = "identity-consumer identity.email"
	connected := func() int { return lines(s, `"message":"connected to rabbitmq"`, `"connection":"`+connection+`"`) }
	before := connected()
	require.Positive(t, before)
	harness.Soon(t, func() error {
		if cut := cutConnections(t, s); !slices.Contains(cut, connection) {
			return fmt.Errorf("the broker has cut %q only", cut)
		}
		return nil
	})
	harness.Soon(t, func() error {
		if connected() == before {
			return errors.New("the connection is not back")
		}
		return lengthIs(s, emailQueue, 0) // both are delivered again
	})
	require.Empty(t, s.Mailbox.Accepted(slow.email), "the mail in hand outlives its connection")
	close(reconnected)
	s.WaitReached(smtptest.EndOfData, 3) // the slow one has been sent, the next one is in hand
	require.Len(t, s.Mailbox.Accepted(slow.email), 1)
	stale, err := s.Consumers[0].Metric(t.Context(), `event_stale_acks_total{queue="identity.email"}`)
	require.NoError(t, err)
	require.EqualValues(t, 1, stale)
	require.NoError(t, s.Consumers[0].Kill())
	harness.Soon(t, func() error { return lengthIs(s, emailQueue, 1) })
	require.Empty(t, s.Mailbox.Accepted(next.email))
}

// killRabbitMQUnderLoad checks that what the broker has confirmed it still has after kill -9, and that everything else
// is published again.
func killRabbitMQUnderLoad(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	crowd := startCrowd(t, s, 8)
	crowd.waitVerified(20)
	harness.Inject(t, harness.RabbitMQ.Kill)
	require.NoError(t, harness.RabbitMQ.Restart(t.Context()))
	crowd.waitVerified(20)
	crowd.finish()
	require.Zero(t, crowd.lostAnswers())
	require.Zero(t, crowd.serverErrors())
	crowd.check(t, s, recorded, 1)
}

// topologyHeals deletes what the service needs at the broker. It comes back, and so do the mails.
func topologyHeals(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	for _, test := range []struct {
		name   string
		delete func(ch *amqp.Channel) error
	}{
		{"binding", func(ch *amqp.Channel) error { return ch.QueueUnbind(emailQueue, "email.#", harness.Exchange, nil) }},
		{"queue", func(ch *amqp.Channel) error { _, err := ch.QueueDelete(emailQueue, false, false, false); return err }},
		{"exchange", func(ch *amqp.Channel) error { return ch.ExchangeDelete(harness.Exchange, false, false) }},
	} {
		s.OnBroker(test.delete)
		p := register(t, s)
		require.Equal(t, mailEvent(t, s, p)+"@"+senderDomain, oneMail(t, s, p.email).MessageID, test.name)
	}
}
