//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// TestProcessesKilled: apis and consumers die at random moments under a steady stream of people, and come back.
func TestProcessesKilled(t *testing.T) {
	const kills, perSecond, seed = 8, 10, 20260131
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	neighbour := recordEvents(t, s)
	crowd := startCrowd(t, s, perSecond)
	random := rand.New(rand.NewPCG(seed, seed))
	t.Logf("seed %d", seed)
	crowd.waitVerified(5)
	for i := range kills {
		role := [][]*harness.Process{s.Consumers, s.APIs}[i%2]
		victim := role[random.IntN(len(role))]
		pause := time.Duration(random.Int64N(int64(1500 * time.Millisecond)))
		lets(t, pause)
		require.NoError(t, victim.Kill())
		require.NoError(t, victim.Start(t.Context()))
		t.Logf("%s killed after %s", victim.Name, pause.Round(time.Millisecond))
		crowd.waitVerified(perSecond)
	}
	crowd.leave()
	crowd.settle(t, s, neighbour, kills)
	for _, p := range s.Processes() {
		s.Ready(p)
	}
}

// lets a random moment pass: here time itself is what the test needs.
func lets(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// TestConsumerKilledInMail: a consumer dies between the server's final dot and its own record. The mail is sent
// once more when the lease has ended, the same and flagged; the other consumer does not wait for its turn.
func TestConsumerKilledInMail(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Delay(time.Minute).Times(1))
	p := register(t, s)
	s.WaitReached(smtptest.EndOfData, 1)
	require.NoError(t, s.Consumers[0].Kill())

	second := s.NewConsumer()
	require.NoError(t, second.Start(t.Context()))
	other := registered(t, s)
	require.Empty(t, s.Mailbox.Accepted(p.email), "the lease is respected, and nobody waits behind it")
	p.readMail(t, s)
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

// TestConsumerTerminated: a consumer that is asked to stop finishes the mail in hand and gives the others back.
func TestConsumerTerminated(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: map[string]string{"EMAIL_WORKERS": "1", "SMTP_TIMEOUT": "20s"}})
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Delay(3 * time.Second).Times(1))
	inHand := register(t, s)
	s.WaitReached(smtptest.EndOfData, 1)
	waiting := []*person{register(t, s), register(t, s)}
	s.OutboxEmpty()

	s.Terminate(s.Consumers[0])
	require.Len(t, s.Mailbox.Accepted(inHand.email), 1, "the mail in hand was finished")
	state, _ := ledger(t, s, mailEvent(t, s, inHand))
	require.Equal(t, "accepted", state)
	require.Equal(t, len(waiting), s.QueueLength(emailQueue), "what was finished does not come again")

	second := s.NewConsumer()
	require.NoError(t, second.Start(t.Context()))
	for _, p := range waiting {
		oneMail(t, s, p.email)
	}
	harness.Soon(t, func() error { return lengthIs(s, emailQueue, 0) })
	require.Len(t, s.Mailbox.All(""), 1+len(waiting))
	require.Zero(t, s.Count("SELECT sum(resends) FROM mail_deliveries"))
}

// TestAPITerminated: rolling the apis under load costs nobody an answer.
func TestAPITerminated(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1})
	neighbour := recordEvents(t, s)
	crowd := startCrowd(t, s, 10)
	for range 2 {
		for _, api := range s.APIs {
			crowd.waitVerified(8)
			s.Terminate(api)
			require.NoError(t, api.Start(t.Context()))
			s.Ready(api)
		}
	}
	crowd.leave()
	require.Zero(t, crowd.lost())
	require.Zero(t, crowd.refusedByUs())
	crowd.settle(t, s, neighbour, 0)
}

// TestConnectionsCut: the broker cuts every connection of the service, again and again.
func TestConnectionsCut(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	neighbour := recordEvents(t, s)
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
	crowd.leave()
	require.Zero(t, crowd.lost())
	require.Zero(t, crowd.refusedByUs())
	crowd.settle(t, s, neighbour, 3)
}

// TestLateAck: a mail that is finished after its connection was cut must not ack what has its number on the next one.
func TestLateAck(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: map[string]string{"EMAIL_WORKERS": "1", "SMTP_TIMEOUT": "20s"}})
	registered(t, s) // delivery 1
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Delay(12*time.Second).Times(1), smtptest.At(smtptest.EndOfData).Hang())
	slow := register(t, s) // delivery 2, in hand; delivery 1 of the next connection
	s.WaitReached(smtptest.EndOfData, 2)
	next := register(t, s) // delivery 3, waiting; delivery 2 of the next connection
	s.OutboxEmpty()

	connected := func() int {
		return strings.Count(strings.Join(s.Consumers[0].Log.Lines(0), "\n"), "connected to rabbitmq")
	}
	before := connected()
	harness.Soon(t, func() error {
		if cut := cutConnections(t, s); !slices.Contains(cut, "identity-consumer") {
			return fmt.Errorf("the broker has cut %q only", cut)
		}
		return nil
	})
	harness.Soon(t, func() error {
		if now := connected(); now < before+2 {
			return fmt.Errorf("%d connections are back", now-before)
		}
		return nil
	})
	require.Empty(t, s.Mailbox.Accepted(slow.email), "the mail in hand must outlive its connection for this test to mean anything")
	s.WaitReached(smtptest.EndOfData, 3) // the slow one is finished, the next one in hand
	require.Len(t, s.Mailbox.Accepted(slow.email), 1)
	stale, err := s.Consumers[0].Metric(t.Context(), `event_stale_acks_total{queue="identity.email"}`)
	require.NoError(t, err)
	require.EqualValues(t, 1, stale)
	require.NoError(t, s.Consumers[0].Kill())
	harness.Soon(t, func() error { return lengthIs(s, emailQueue, 1) })
	require.Empty(t, s.Mailbox.Accepted(next.email))
}

// TestRabbitMQKilledUnderLoad: what the broker has confirmed it still has after kill -9; all else is published again.
func TestRabbitMQKilledUnderLoad(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	neighbour := recordEvents(t, s)
	crowd := startCrowd(t, s, 8)
	crowd.waitVerified(20)
	harness.Inject(t, harness.RabbitMQ.Kill)
	require.NoError(t, harness.RabbitMQ.Restart(t.Context()))
	crowd.waitVerified(20)
	crowd.leave()
	require.Zero(t, crowd.lost())
	require.Zero(t, crowd.refusedByUs())
	crowd.settle(t, s, neighbour, 1)
}

// TestTopologyHeals: somebody deletes what the service needs at the broker; it comes back, and so do the mails.
func TestTopologyHeals(t *testing.T) {
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
