//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

const (
	isPaused  = "mail is paused"
	sentAgain = "mail is sent again"
)

// TestMailLane checks that a mail server which refuses the service costs no mail a try, and that what hangs for a batch
// does not hang for a code.
func TestMailLane(t *testing.T) {
	t.Parallel()
	t.Run("everything leaves as soon as a refused port is back", refusedPort)
	t.Run("a refused sender pauses, and fails no mail", refusedSender)
	t.Run("a recipient who is always refused concerns nobody else", refusedRecipient)
	t.Run("a stop in a pause loses nothing", stopInPause)
	t.Run("a batch that hangs holds up no code", hangingBatch)
	t.Run("eight codes are under way at a time, whatever the batch holds", eightAtATime)
}

// beforeRetry is less than the half minute after which mails would leave that were on the retry levels.
const beforeRetry = 25 * time.Second

// metric returns a figure of the first consumer.
func metric(t *testing.T, s *harness.TestSystem, series string) float64 {
	t.Helper()
	value, err := s.Consumers[0].Metric(t.Context(), series)
	require.NoError(t, err)
	return value
}

// laneIs waits until the metrics say that the lane of codes is paused, or not.
func laneIs(t *testing.T, s *harness.TestSystem, paused float64) {
	t.Helper()
	harness.Soon(t, func() error {
		if is := metric(t, s, `lane_paused{queue="identity.email"}`); is != paused {
			return fmt.Errorf("lane_paused is %v", is)
		}
		return nil
	})
}

// lines counts the lines of the first consumer that contain all texts.
func lines(s *harness.TestSystem, texts ...string) (n int) {
	for _, line := range s.Consumers[0].Log.Lines(0) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

// waitForProbes waits until the mail server has refused n tries.
func waitForProbes(t *testing.T, s *harness.TestSystem, n float64) {
	t.Helper()
	harness.Soon(t, func() error {
		if failed := metric(t, s, "emails_failed_total"); failed < n {
			return fmt.Errorf("%v tries have failed", failed)
		}
		return nil
	})
}

// handledAtOnce checks that these mails have come, each by its first counted try and within the time from now on.
func handledAtOnce(t *testing.T, s *harness.TestSystem, within time.Duration, people []*person) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for _, p := range people {
		_, err := s.Mailbox.Wait(ctx, p.email, 1)
		require.NoError(t, err)
	}
	for _, p := range people {
		oneMail(t, s, p.email)
		s.WaitLine(s.Consumers[0], mailEvent(t, s, p), `"outcome":"handled"`, `"attempt":1`)
	}
	require.Zero(t, lines(s, `"message":"event retry"`), "no mail was sent up the retry levels")
	require.Zero(t, s.QueueLength(emailQueue+".dead"))
}

// refusedPort is down for as long as it takes the probes to reach their longest pause. On the retry levels the mails
// would leave half a minute after it is back.
func refusedPort(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	s.Mailbox.Down()
	var people []*person
	for range 12 {
		people = append(people, register(t, s))
	}
	s.WaitLine(s.Consumers[0], isPaused, emailQueue, "smtp_connect")
	laneIs(t, s, 1)
	waitForProbes(t, s, metric(t, s, "emails_failed_total")+5)
	require.Equal(t, 1, lines(s, isPaused), "said once")
	require.NoError(t, s.Mailbox.Up())
	handledAtOnce(t, s, beforeRetry, people)
	require.Equal(t, 1, lines(s, isPaused))
	require.Equal(t, 1, lines(s, sentAgain))
	laneIs(t, s, 0)
	logsHideSecrets(t, s, people...)
}

// refusedRecipient refuses one recipient with a reply that does not say whether it is about them or about us, while others
// register one after the other.
func refusedRecipient(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	refused := harness.Email()
	s.Mailbox.Script(smtptest.At(smtptest.Rcpt).To(func(to string) bool { return to == refused }).
		Reply(550).Text("5.7.1 not by us"))
	want(t, http.StatusCreated)(s.Client().Register(t.Context(), refused, harness.Password))
	waitForProbes(t, s, 1)
	var people []*person
	for range 30 {
		people = append(people, register(t, s))
	}
	for _, p := range people {
		oneMail(t, s, p.email)
		s.WaitLine(s.Consumers[0], mailEvent(t, s, p), `"outcome":"handled"`, `"attempt":1`)
	}
	require.Zero(t, lines(s, isPaused))
	require.Empty(t, s.Mailbox.All(refused))
	require.Zero(t, s.QueueLength(emailQueue+".dead"), "it is tried again")
	logsHideSecrets(t, s, people...)
}

// refusedSender refuses every MAIL for good, which says something about us and nothing about a mail.
func refusedSender(t *testing.T) {
	t.Parallel()
	s, admin := startWithAdministrator(t, "100")
	s.Mailbox.Script(smtptest.At(smtptest.Mail).Reply(550))
	invitees := newAddresses(20)
	admin.invite(t, invitees)
	p := register(t, s)
	for _, queue := range []string{emailQueue, invitationQueue} {
		harness.Soon(t, func() error {
			for _, c := range s.Consumers {
				if slices.ContainsFunc(c.Log.Lines(0), func(line string) bool {
					return strings.Contains(line, isPaused) && strings.Contains(line, queue)
				}) {
					return nil
				}
			}
			return fmt.Errorf("no consumer has paused %s", queue)
		})
	}
	s.Mailbox.Script()
	p.readMail(t, s)
	for _, address := range invitees {
		oneMail(t, s, address)
	}
	closingMail(t, s, admin, len(invitees), 0)
	ledgerHas(t, s, 0, "state <> 'accepted'")
	for _, queue := range []string{emailQueue, invitationQueue} {
		require.Zero(t, s.QueueLength(queue+".dead"))
	}
}

// stopInPause replaces the consumer while its lane is paused.
func stopInPause(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	s.Mailbox.Down()
	people := []*person{register(t, s), register(t, s), register(t, s)}
	s.WaitLine(s.Consumers[0], isPaused)
	s.Terminate(s.Consumers[0])
	harness.Soon(t, func() error { // the last may be in the outbox yet, and the first in a retry queue
		if n := s.QueueLength(emailQueue); n != len(people) {
			return fmt.Errorf("%d mails wait, expected %d", n, len(people))
		}
		return nil
	})
	require.NoError(t, s.Mailbox.Up())
	require.NoError(t, s.Consumers[0].Start(t.Context()))
	handledAtOnce(t, s, beforeRetry, people)
}

// eightAtATime shows what keeps two registrations a second from falling behind a server that takes 3 s for each mail.
func eightAtATime(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: map[string]string{
		"INVITATIONS_PER_SECOND": "1000", "INVITATION_URL": invitationURL, "SMTP_TIMEOUT": "5m",
	}})
	admin := administrator(t, s)
	before := s.Mailbox.Reached(smtptest.EndOfData)
	s.Mailbox.Script(
		smtptest.At(smtptest.Rcpt).To(func(to string) bool { return strings.HasPrefix(to, "invited-") }).Hang(),
		smtptest.At(smtptest.EndOfData).Hang(),
	)
	var invitees []string
	for i := range 100 {
		invitees = append(invitees, fmt.Sprintf("invited-%d@example.com", i))
	}
	admin.invite(t, invitees)
	s.WaitReached(smtptest.Rcpt, before+2)
	for range 8 {
		register(t, s)
	}
	s.WaitReached(smtptest.EndOfData, before+8)
}

// hangingBatch sends 2,000 invitations to a server that hangs on each of them, and registers people beside.
func hangingBatch(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: map[string]string{
		"INVITATIONS_PER_SECOND": "1000", "INVITATION_URL": invitationURL, "SMTP_TIMEOUT": "5m",
	}})
	admin := administrator(t, s)
	invitees := map[string]bool{}
	addresses := newAddresses(2000)
	for _, address := range addresses {
		invitees[address] = true
	}
	s.Mailbox.Script(smtptest.At(smtptest.Rcpt).To(func(to string) bool { return invitees[to] }).Hang())
	before := s.Mailbox.Reached(smtptest.Rcpt)
	admin.invite(t, addresses)
	s.WaitReached(smtptest.Rcpt, before+2) // the server hangs on invitations
	started := time.Now()
	for range 10 {
		p := register(t, s)
		oneMail(t, s, p.email)
	}
	require.Less(t, time.Since(started), harness.Patience, "ten codes in a row")
	for _, mail := range s.Mailbox.All("") {
		require.False(t, invitees[mail.To], "the invitations still hang")
	}
}
