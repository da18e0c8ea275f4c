//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// TestMailServer checks that whatever the mail server does, a mail is sent once, or kept where a person can see it.
func TestMailServer(t *testing.T) {
	t.Parallel()
	t.Run("misbehaves", misbehaves)
	t.Run("one slow dialogue does not hold up the others", oneSlowDialogue)
	t.Run("a connection cut after the final dot", ambiguous)
	t.Run("every connection cut after the final dot for a while", cutForAWhile)
}

// misbehaves runs one fault of the mail server after the other, each on a system of its own.
func misbehaves(t *testing.T) {
	t.Parallel()
	at := smtptest.At
	for name, test := range map[string]struct {
		script  smtptest.Rule
		timeout string // SMTP_TIMEOUT; "" is the harness's 3 s
		within  time.Duration
	}{
		"450 for a while":             {script: at(smtptest.Rcpt).Reply(450).Times(2), within: 30 * time.Second},
		"421 at once":                 {script: at(smtptest.Greeting).Reply(421).Times(1), within: 20 * time.Second},
		"452 after the mail":          {script: at(smtptest.EndOfData).Reply(452).Times(1), within: 20 * time.Second},
		"cut in the middle":           {script: at(smtptest.Data).Cut().Times(1), within: 20 * time.Second},
		"hangs at the greeting":       {script: at(smtptest.Greeting).Hang().Times(1), within: 30 * time.Second},
		"hangs before the mail":       {script: at(smtptest.Data).Hang().Times(1), within: 30 * time.Second},
		"250 and gone, without QUIT":  {script: at(smtptest.EndOfData).AnswerAndCut(), within: 20 * time.Second},
		"hangs at QUIT":               {script: at(smtptest.Quit).Hang(), within: 20 * time.Second},
		"slow, twelve seconds a mail": {script: at(smtptest.EndOfData).Delay(12 * time.Second).Times(1), timeout: "20s", within: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{}
			if test.timeout != "" {
				env["SMTP_TIMEOUT"] = test.timeout
			}
			s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: env})
			s.Mailbox.Script(test.script)
			p := register(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), test.within)
			defer cancel()
			mails, err := s.Mailbox.Wait(ctx, p.email, 1)
			require.NoError(t, err)
			s.WaitLine(s.Consumers[0], mailEvent(t, s, p), `"outcome":"handled"`)
			require.Len(t, s.Mailbox.Accepted(p.email), 1)
			state, _ := ledger(t, s, mailEvent(t, s, p))
			require.Equal(t, "accepted", state)
			require.Zero(t, s.Count("SELECT sum(resends) FROM mail_deliveries"), "nothing was sent on suspicion")
			p.code = mails[0].Code()
			p.verify(t)
			require.Zero(t, s.QueueLength(emailQueue+".dead"))
			logsHideSecrets(t, s, p)
		})
	}
}

// oneSlowDialogue checks that one slow dialogue does not hold up the others.
func oneSlowDialogue(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: map[string]string{"SMTP_TIMEOUT": "5m"}})
	othersSent := make(chan struct{})
	s.Mailbox.Script(smtptest.At(smtptest.Mail).Until(othersSent).Times(1))
	slow := register(t, s)
	s.WaitReached(smtptest.Mail, 1)
	for range 5 {
		oneMail(t, s, register(t, s).email)
	}
	require.Empty(t, s.Mailbox.All(slow.email), "the others came first")
	close(othersSent)
	oneMail(t, s, slow.email)
}

// ambiguous cuts the connection after the final dot, which leaves open whether the mail was accepted. It is repeated,
// recognisably the same and counted (RFC 1047).
func ambiguous(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Cut().Times(1))
	p := register(t, s)
	p.readMail(t, s)
	mails := s.Mailbox.All(p.email)
	require.Len(t, mails, 2)
	require.Equal(t, mails[0].MessageID, mails[1].MessageID)
	require.Equal(t, mails[0].Code(), mails[1].Code())
	repeated, err := s.Consumers[0].Metric(t.Context(), "emails_repeated_total")
	require.NoError(t, err)
	require.EqualValues(t, 1, repeated)
	p.verify(t)
}

// cutForAWhile cuts every connection after the final dot for as long as a relay restarts. Nobody loses a code by it.
func cutForAWhile(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Cut())
	people := make([]*person, 5)
	for i := range people {
		people[i] = register(t, s)
	}
	s.WaitReached(smtptest.EndOfData, len(people))
	wait(t, 8*time.Second)
	require.Equal(t, len(people), s.Mailbox.Reached(smtptest.EndOfData), "no repeat before half a minute is over")
	s.Mailbox.Script()
	for _, p := range people {
		p.readMail(t, s)
		p.verify(t)
	}
	require.Zero(t, s.QueueLength(emailQueue+".dead"))
	require.Equal(t, len(people), s.Count("SELECT sum(resends) FROM mail_deliveries"))
}

// TestMailServerDown checks that people register, verify and log in as on a good day while no mail can leave.
func TestMailServerDown(t *testing.T) {
	for name, fault := range map[string]struct {
		begin func(*harness.Mailbox)
		end   func(*harness.Mailbox) error
	}{
		"killed": {(*harness.Mailbox).Down, (*harness.Mailbox).Up},
		"stopped": {
			func(m *harness.Mailbox) { m.Script(smtptest.At(smtptest.Greeting).Hang()) },
			func(m *harness.Mailbox) error { m.Script(); return nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
			day := newDay(t, s)
			fault.begin(s.Mailbox)
			day.compareBadDay(t, s)
			require.NoError(t, fault.end(s.Mailbox))
			day.checkCaughtUp(t, s)
		})
	}
}
