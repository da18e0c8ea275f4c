package mailer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/mailer"
)

// patience is how long a test waits for something that must happen before it gives up.
const patience = 20 * time.Second

func to(srv *smtptest.Server, change ...func(*mailer.Options)) mailer.Options {
	opts := options()
	opts.Host, opts.Port = srv.Host(), srv.Port()
	for _, c := range change {
		c(&opts)
	}
	return opts
}

func newMailer(t *testing.T, opts mailer.Options) *mailer.Mailer {
	t.Helper()
	m, err := mailer.New(opts)
	require.NoError(t, err)
	return m
}

// step is one place of the conversation where the server can misbehave.
type step struct {
	at      smtptest.Verb
	verb    string
	silence mailer.Class // after a cut, or without any reply
}

// beforeRecipient reports whether whatever goes wrong at the step is about us.
func (s step) beforeRecipient() bool {
	return !slices.Contains([]smtptest.Verb{smtptest.Rcpt, smtptest.Data, smtptest.EndOfData}, s.at)
}

var steps = []step{
	{smtptest.Greeting, "GREETING", mailer.Temporary},
	{smtptest.Ehlo, "EHLO", mailer.Temporary},
	{smtptest.Upgrade, "STARTTLS", mailer.Temporary},
	{smtptest.Auth, "AUTH", mailer.Temporary},
	{smtptest.Mail, "MAIL", mailer.Temporary},
	{smtptest.Rcpt, "RCPT", mailer.Temporary},
	{smtptest.Data, "DATA", mailer.Temporary},
	{smtptest.EndOfData, "END_OF_DATA", mailer.Ambiguous},
}

// full is a server that is led through every step, and the client that does it.
func full(t *testing.T) (*smtptest.Server, mailer.Options) {
	t.Helper()
	srv := smtptest.Start(t, smtptest.Options{TLS: smtptest.StartTLS, Username: "robot", Password: password})
	return srv, to(srv, func(o *mailer.Options) {
		o.TLS, o.TLSConfig = mailer.TLSStartTLS, trusting(srv)
		o.Username, o.Password = "robot", password
	})
}

func requireNothingAccepted(t *testing.T, srv *smtptest.Server) {
	t.Helper()
	for _, message := range srv.Received() {
		require.False(t, message.Accepted)
	}
}

func TestRefusalAtEveryVerb(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		for _, code := range []int{421, 450, 451, 452, 454, 500, 535, 550, 552, 554} {
			t.Run(fmt.Sprintf("%s/%d", step.verb, code), func(t *testing.T) {
				t.Parallel()
				srv, opts := full(t)
				srv.Script(smtptest.At(step.at).Reply(code))
				mail := aMail()
				failed := sendFails(t, newMailer(t, opts), t.Context(), mail)

				class, of := mailer.Temporary, mailer.Unclear
				enhanced := fmt.Sprintf("%d.0.0", code/100)
				switch {
				case code == 550 && step.at == smtptest.Rcpt:
					class, of, enhanced = mailer.Permanent, mailer.Recipient, "5.1.1"
				case code == 552 && slices.Contains([]smtptest.Verb{smtptest.Mail, smtptest.Data, smtptest.EndOfData}, step.at):
					class, of = mailer.Permanent, mailer.Message
				case step.beforeRecipient():
					of = mailer.Us
				}
				require.Equal(t, class, failed.Class)
				require.Equal(t, of, failed.Of)
				require.Equal(t, step.verb, failed.Verb)
				require.Equal(t, code, failed.Code)
				require.NoError(t, errors.Unwrap(failed), "a server's text must not be reachable")
				if step.at != smtptest.Greeting && step.at != smtptest.Ehlo { // RFC 2034 §4: not before EHLO has announced them
					require.Equal(t, enhanced, failed.Enhanced)
				}
				requireDiscreet(t, failed, mail)
				requireNothingAccepted(t, srv)
			})
		}
	}
}

func TestCutAtEveryVerb(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step.verb, func(t *testing.T) {
			t.Parallel()
			srv, opts := full(t)
			srv.Script(smtptest.At(step.at).Cut())
			mail := aMail()
			failed := sendFails(t, newMailer(t, opts), t.Context(), mail)
			require.Equal(t, step.silence, failed.Class)
			require.Equal(t, step.beforeRecipient(), failed.Of == mailer.Us)
			require.Equal(t, step.verb, failed.Verb)
			require.Zero(t, failed.Code)
			require.Error(t, errors.Unwrap(failed))
			requireDiscreet(t, failed, mail)
		})
	}
}

func TestHangAtEveryVerbEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step.verb, func(t *testing.T) {
			t.Parallel()
			srv, opts := full(t)
			opts.Timeout = 500 * time.Millisecond // room for a busy machine to get as far as the verb
			srv.Script(smtptest.At(step.at).Hang())
			started := time.Now()
			failed := sendFails(t, newMailer(t, opts), t.Context(), aMail())
			require.Equal(t, step.silence, failed.Class)
			require.Equal(t, step.verb, failed.Verb)
			require.ErrorIs(t, failed, context.DeadlineExceeded)
			require.GreaterOrEqual(t, time.Since(started), opts.Timeout)
			require.Less(t, time.Since(started), patience)
		})
	}
}

func TestHangAtEveryVerbEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step.verb, func(t *testing.T) {
			t.Parallel()
			srv, opts := full(t)
			opts.Timeout = time.Hour
			srv.Script(smtptest.At(step.at).Hang())
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			go func() {
				if srv.WaitReached(t.Context(), step.at, 1) == nil {
					cancel()
				}
			}()
			failed := sendFails(t, newMailer(t, opts), ctx, aMail())
			require.Equal(t, step.silence, failed.Class)
			if step.at != smtptest.Greeting { // the server may greet before the client knows that it is connected
				require.Equal(t, step.verb, failed.Verb)
			}
			require.ErrorIs(t, failed, context.Canceled)
			require.Equal(t, mailer.Unclear, failed.Of, "who gives up says nothing about the server")
		})
	}
}

// The deadline is that of the mail: replies that are each in time must not add up to more.
func TestDeadlineIsTotal(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	var rules []smtptest.Rule
	for _, at := range []smtptest.Verb{smtptest.Greeting, smtptest.Ehlo, smtptest.Mail, smtptest.Rcpt, smtptest.Data} {
		rules = append(rules, smtptest.At(at).Delay(200*time.Millisecond))
	}
	srv.Script(rules...)
	failed := sendFails(t, newMailer(t, to(srv, func(o *mailer.Options) { o.Timeout = 500 * time.Millisecond })), t.Context(), aMail())
	require.Equal(t, mailer.Temporary, failed.Class)
	require.ErrorIs(t, failed, context.DeadlineExceeded)
	require.Zero(t, srv.Reached(smtptest.EndOfData))
}

func TestConnectFailuresAreTemporary(t *testing.T) {
	t.Parallel()
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		srv.Close()
		failed := sendFails(t, newMailer(t, to(srv)), t.Context(), aMail())
		require.Equal(t, mailer.Temporary, failed.Class)
		require.Equal(t, "CONNECT", failed.Verb)
		require.ErrorContains(t, failed, "refused")
	})
	t.Run("unknown host", func(t *testing.T) {
		t.Parallel()
		opts := options()
		opts.Host = "not..a.name" // refused by the resolver without asking any server
		failed := sendFails(t, newMailer(t, opts), t.Context(), aMail())
		require.Equal(t, mailer.Temporary, failed.Class)
		require.Equal(t, "CONNECT", failed.Verb)
		var dns *net.DNSError
		require.ErrorAs(t, failed, &dns)
	})
	t.Run("cancelled before", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		failed := sendFails(t, newMailer(t, to(srv)), ctx, aMail())
		require.Equal(t, mailer.Temporary, failed.Class)
		require.ErrorIs(t, failed, context.Canceled)
		require.Zero(t, srv.Connections())
	})
}

func TestAcceptedComesAfterThe250AndBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	calls := 0 // unguarded: another goroutine would be a data race
	m := newMailer(t, to(srv, func(o *mailer.Options) { o.MailsPerConnection = 1 }))
	err := m.Send(t.Context(), aMail(), func(context.Context) error {
		calls++
		require.True(t, srv.Received()[0].Accepted)
		require.Zero(t, srv.Reached(smtptest.Quit))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 1, calls)
	require.Equal(t, 1, srv.Reached(smtptest.Quit))
	require.Equal(t, 1, srv.Connections())
}

func TestNothingAfterThe250MattersAnyMore(t *testing.T) {
	t.Parallel()
	faults := map[string]smtptest.Rule{
		"250 then cut": smtptest.At(smtptest.EndOfData).AnswerAndCut(),
		"QUIT cut":     smtptest.At(smtptest.Quit).Cut(),
		"QUIT hangs":   smtptest.At(smtptest.Quit).Hang(),
		"QUIT 421":     smtptest.At(smtptest.Quit).Reply(421),
		"QUIT 550":     smtptest.At(smtptest.Quit).Reply(550),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.Start(t, smtptest.Options{})
			srv.Script(fault)
			calls := 0
			started := time.Now()
			err := newMailer(t, to(srv)).Send(t.Context(), aMail(), func(context.Context) error { calls++; return nil })
			require.NoError(t, err)
			require.Equal(t, 1, calls)
			require.Less(t, time.Since(started), patience, "QUIT must not use up the whole deadline")
		})
	}
}

func TestAcceptedSurvivesTheCallersEnd(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
	defer cancel()
	err := newMailer(t, to(srv)).Send(ctx, aMail(), func(recording context.Context) error {
		cancel()
		require.NoError(t, recording.Err())
		_, limited := recording.Deadline()
		require.False(t, limited)
		require.Equal(t, "trace", recording.Value(key{}))
		return nil
	})
	require.NoError(t, err)
}

func TestErrorOfAcceptedIsReturnedAndIsNoMailError(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	broken := errors.New("the ledger is unavailable")
	err := newMailer(t, to(srv)).Send(t.Context(), aMail(), func(context.Context) error { return broken })
	require.ErrorIs(t, err, broken)
	var failed *mailer.Error
	require.False(t, errors.As(err, &failed), "the mail was accepted: no class may invite to send it again")
}

func TestARefusalOfUsEndsWithQUIT(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	srv.Script(smtptest.At(smtptest.Mail).Reply(550))
	_ = sendFails(t, newMailer(t, to(srv)), t.Context(), aMail())
	require.Equal(t, 1, srv.Reached(smtptest.Quit))
}

func TestMailerIsReusableAfterAFault(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	srv.Script(smtptest.At(smtptest.Rcpt).Reply(450).Times(1))
	m := newMailer(t, to(srv))
	_ = sendFails(t, m, t.Context(), aMail())
	require.NoError(t, m.Send(t.Context(), aMail(), func(context.Context) error { return nil }))
	require.Len(t, srv.Received(), 1)
}

// Not parallel: it counts the goroutines of the process.
func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, step := range steps {
		for _, fault := range []smtptest.Rule{
			smtptest.At(step.at), smtptest.At(step.at).Reply(451), smtptest.At(step.at).Cut(), smtptest.At(step.at).Hang(),
		} {
			srv, opts := full(t)
			opts.Timeout = 200 * time.Millisecond
			srv.Script(fault)
			_ = newMailer(t, opts).Send(t.Context(), aMail(), func(context.Context) error { return nil })
			srv.Close()
		}
	}
	// The callback of a context that has ended runs in a goroutine that cannot be waited for.
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("goroutines stayed:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// The peculiar servers: what the fault server does not speak.
func TestPeculiarAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		answers map[string]string
		class   mailer.Class // "" when the mail must be accepted
		verb    string
	}{
		{"HELO only", map[string]string{"EHLO": "502 5.5.1 what?"}, "", ""},
		{"an unexpected yes", map[string]string{".": "251 2.0.0 will do"}, "", ""},
		{"a yes of several lines", map[string]string{".": "250-2.0.0 yes\r\n250 2.0.0 indeed"}, "", ""},
		{"a yes to RCPT that forwards", map[string]string{"RCPT": "251 2.1.5 elsewhere"}, "", ""},
		{"neither yes nor no to the dot", map[string]string{".": "354 go on"}, mailer.Ambiguous, "END_OF_DATA"},
		{"no SMTP after the dot", map[string]string{".": "thanks, someone@example.com"}, mailer.Ambiguous, "END_OF_DATA"},
		{"no SMTP at RCPT", map[string]string{"RCPT": "thanks, someone@example.com"}, mailer.Temporary, "RCPT"},
		{"no SMTP at EHLO", map[string]string{"EHLO": "hello robot", "HELO": "hello robot"}, mailer.Temporary, "EHLO"},
		{"a web server", map[string]string{"": "HTTP/1.1 400 someone@example.com"}, mailer.Temporary, "GREETING"},
		{"an echo at RCPT", map[string]string{"RCPT": "550 5.1.1 <someone@example.com>: " + serverText}, mailer.Permanent, "RCPT"},
		{"an echo after the dot", map[string]string{".": "554-5.6.0 the secret text\r\n554 5.6.0 Hello"}, mailer.Permanent, "END_OF_DATA"},
		{"a yes to DATA without 354", map[string]string{"DATA": "250 ok"}, mailer.Temporary, "DATA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := startPeculiar(t, tt.answers)
			opts := options()
			opts.Port = srv.port
			opts.Idle = time.Millisecond // the server has said all once the connection ends
			m, mail := newMailer(t, opts), aMail()
			if tt.class == "" {
				calls := 0
				require.NoError(t, m.Send(t.Context(), mail, func(context.Context) error { calls++; return nil }))
				require.Equal(t, 1, calls)
				return
			}
			failed := sendFails(t, m, t.Context(), mail)
			require.Equal(t, tt.class, failed.Class)
			require.Equal(t, tt.verb, failed.Verb)
			for err := error(failed); err != nil; err = errors.Unwrap(err) {
				requireDiscreet(t, err, mail)
			}
		})
	}
}

// A mail that is cut off in the middle must not be completed by the goodbye: no dot, no QUIT, only the end.
func TestHalfAMailIsNeverEndedWithADot(t *testing.T) {
	t.Parallel()
	srv := startPeculiar(t, map[string]string{"DATA": stopReading})
	opts := options()
	opts.Port = srv.port
	opts.Idle = time.Millisecond // the server has said all once the connection ends
	mail := aMail()
	mail.Text = strings.Repeat("a line that fills the buffers of both sides\n", 1<<18) // 11 MB
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	half := make(chan net.Conn, 1)
	go func() {
		half <- <-srv.handed
		cancel()
	}()
	failed := sendFails(t, newMailer(t, opts), ctx, mail)
	require.Equal(t, mailer.Temporary, failed.Class)
	require.Equal(t, "CONTENT", failed.Verb)
	require.ErrorIs(t, failed, context.Canceled)

	rest, _ := io.ReadAll(<-half) // a reset is as good an end as a close
	require.NotContains(t, string(rest), "\r\n.\r\n")
	require.NotContains(t, string(rest), "QUIT")
}
