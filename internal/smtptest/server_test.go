package smtptest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
)

const (
	patience = 10 * time.Second
	forEver  = time.Hour // longer than any test
	mailText = "From: a@example.com\r\nMessage-ID: <m1@example.com>\r\nSubject: s\r\n\r\n.dot\r\nbody\r\n"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial opens a connection that fails rather than hang.
func dial(t *testing.T, srv *smtptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// talk walks the dialogue and returns the verb at which it failed, "" if it did not.
func talk(conn net.Conn, to ...string) (failedAt smtptest.Verb, err error) {
	client, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		return smtptest.Greeting, err
	}
	if err := client.Hello("test"); err != nil {
		return smtptest.Ehlo, err
	}
	if err := client.Auth(smtp.PlainAuth("", "user", "secret", "127.0.0.1")); err != nil {
		return smtptest.Auth, err
	}
	if err := client.Mail("a@example.com"); err != nil {
		return smtptest.Mail, err
	}
	for _, address := range to {
		if err := client.Rcpt(address); err != nil {
			return smtptest.Rcpt, err
		}
	}
	body, err := client.Data()
	if err != nil {
		return smtptest.Data, err
	}
	if _, err := io.WriteString(body, mailText); err != nil {
		return smtptest.Data, err
	}
	if err := body.Close(); err != nil {
		return smtptest.EndOfData, err
	}
	if err := client.Quit(); err != nil {
		return smtptest.Quit, err
	}
	return "", nil
}

var verbs = []smtptest.Verb{
	smtptest.Greeting, smtptest.Ehlo, smtptest.Auth, smtptest.Mail,
	smtptest.Rcpt, smtptest.Data, smtptest.EndOfData, smtptest.Quit,
}

// recorded returns how many mails are recorded when the dialogue ends at a verb.
func recorded(verb smtptest.Verb) int {
	if verb == smtptest.EndOfData || verb == smtptest.Quit {
		return 1
	}
	return 0
}

func TestServer(t *testing.T) {
	t.Parallel()
	t.Run("accepts and records a mail", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		at, err := talk(dial(t, srv), "b@example.com", "c@example.com")
		require.NoError(t, err)
		require.Empty(t, at)
		mails := srv.Received()
		require.Len(t, mails, 1)
		require.WithinDuration(t, time.Now(), mails[0].ReceivedAt, time.Minute)
		require.Equal(t, smtptest.Message{
			From:       "a@example.com",
			To:         []string{"b@example.com", "c@example.com"},
			Data:       []byte(mailText),
			MessageID:  "m1@example.com",
			Accepted:   true,
			ReceivedAt: mails[0].ReceivedAt,
		}, mails[0])
		require.Equal(t, 1, srv.Connections())
		require.Equal(t, 2, srv.Reached(smtptest.Rcpt))
		require.Equal(t, srv.Addr(), net.JoinHostPort(srv.Host(), strconv.Itoa(srv.Port())))
		require.Nil(t, srv.CertPool())
	})

	t.Run("does not record a mail without its final dot", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		conn := dial(t, srv)
		client, err := smtp.NewClient(conn, "127.0.0.1")
		require.NoError(t, err)
		require.NoError(t, client.Mail("a@example.com"))
		require.NoError(t, client.Rcpt("b@example.com"))
		body, err := client.Data()
		require.NoError(t, err)
		_, err = io.WriteString(body, mailText)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		_, err = client.Text.ReadLine()
		require.Error(t, err, "the server has closed the connection")
		require.Empty(t, srv.Received())
	})

	t.Run("restarts on the same port", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		_, err := smtptest.New(smtptest.Options{Addr: srv.Addr()})
		require.ErrorContains(t, err, "cannot listen")
		srv.Close()
		_, err = net.Dial("tcp", srv.Addr())
		require.Error(t, err)

		again := smtptest.Start(t, smtptest.Options{Addr: srv.Addr()})
		_, err = talk(dial(t, again), "b@example.com")
		require.NoError(t, err)
	})

	t.Run("stops waiting when the context ends", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		_, err := talk(dial(t, srv), "b@example.com")
		require.NoError(t, err)
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		mails, err := srv.WaitReceived(ended, 2)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "waited for 2 mails, saw 1")
		require.Len(t, mails, 1)
		require.ErrorContains(t, srv.WaitReached(ended, smtptest.Auth, 5), "waited for 5 times AUTH, saw 1")
	})
}

func TestScript(t *testing.T) {
	t.Parallel()
	t.Run("Reply refuses at every verb", func(t *testing.T) {
		t.Parallel()
		for _, verb := range verbs {
			for _, code := range []int{421, 450, 451, 452, 535, 550, 552, 554} {
				t.Run(string(verb)+"/"+strconv.Itoa(code), func(t *testing.T) {
					t.Parallel()
					srv := smtptest.Start(t, smtptest.Options{})
					srv.Script(smtptest.At(verb).Reply(code))
					at, err := talk(dial(t, srv), "b@example.com")
					require.Equal(t, verb, at)
					answer := &textproto.Error{}
					if verb == smtptest.Ehlo && code == 421 {
						// net/smtp falls back to HELO, on a connection that 421 has closed.
						require.Error(t, err)
					} else {
						require.ErrorAs(t, err, &answer)
						require.Equal(t, code, answer.Code)
					}
					require.Len(t, srv.Received(), recorded(verb))
					if verb == smtptest.EndOfData {
						require.False(t, srv.Received()[0].Accepted)
					}
				})
			}
		}
	})

	t.Run("Reply leaves the connection usable", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		client, err := smtp.NewClient(dial(t, srv), "127.0.0.1")
		require.NoError(t, err)
		srv.Script(smtptest.At(smtptest.Rcpt).Reply(450).Times(1), smtptest.At(smtptest.Rcpt).Reply(550).Times(1))
		require.NoError(t, client.Mail("a@example.com"))
		require.ErrorContains(t, client.Rcpt("b@example.com"), "450")
		require.ErrorContains(t, client.Rcpt("b@example.com"), "550")
		_, err = client.Data()
		require.ErrorContains(t, err, "503", "no recipient was accepted")
		require.NoError(t, client.Rcpt("b@example.com"), "the script is used up")

		require.NoError(t, client.Reset())
		require.ErrorContains(t, client.Rcpt("b@example.com"), "503", "RSET forgets the sender")
		require.NoError(t, client.Noop())
		srv.Script(smtptest.At(smtptest.Mail).Reply(421))
		require.ErrorContains(t, client.Mail("a@example.com"), "421")
		require.Error(t, client.Noop(), "421 closes the connection")
		require.Panics(t, func() { smtptest.At(smtptest.Mail).Reply(250) })
	})

	t.Run("Cut closes without a reply at every verb", func(t *testing.T) {
		t.Parallel()
		for _, verb := range verbs {
			t.Run(string(verb), func(t *testing.T) {
				t.Parallel()
				srv := smtptest.Start(t, smtptest.Options{})
				srv.Script(smtptest.At(verb).Cut())
				at, err := talk(dial(t, srv), "b@example.com")
				require.Equal(t, verb, at)
				require.Error(t, err)
				answer := &textproto.Error{}
				require.False(t, errors.As(err, &answer), "no reply came: %v", err)
				require.Len(t, srv.Received(), recorded(verb))
				if verb == smtptest.EndOfData {
					require.False(t, srv.Received()[0].Accepted)
				}
			})
		}
	})

	t.Run("AnswerAndCut closes after the 250", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		srv.Script(smtptest.At(smtptest.EndOfData).AnswerAndCut())
		at, err := talk(dial(t, srv), "b@example.com")
		require.Equal(t, smtptest.Quit, at, "the 250 arrived, QUIT did not")
		require.Error(t, err)
		require.True(t, srv.Received()[0].Accepted)
		require.Zero(t, srv.Reached(smtptest.Quit))
	})

	t.Run("Hang, Delay and Until end with the server", func(t *testing.T) {
		t.Parallel()
		for name, rule := range map[string]func(smtptest.Rule) smtptest.Rule{
			"hang":  smtptest.Rule.Hang,
			"delay": func(r smtptest.Rule) smtptest.Rule { return r.Delay(forEver) },
			"until": func(r smtptest.Rule) smtptest.Rule { return r.Until(make(chan struct{})) },
		} {
			for _, verb := range verbs {
				t.Run(name+"/"+string(verb), func(t *testing.T) {
					t.Parallel()
					srv := smtptest.Start(t, smtptest.Options{})
					srv.Script(rule(smtptest.At(verb)))
					done := make(chan smtptest.Verb, 1)
					conn := dial(t, srv)
					go func() {
						at, _ := talk(conn, "b@example.com")
						done <- at
					}()
					require.NoError(t, srv.WaitReached(within(t), verb, 1))
					mails, err := srv.WaitReceived(within(t), recorded(verb))
					require.NoError(t, err)
					if verb == smtptest.EndOfData {
						require.False(t, mails[0].Accepted)
					}
					srv.Script() // does not release what already hangs
					srv.Close()
					require.Equal(t, verb, <-done, "without a reply")
					srv.Close() // harmless
				})
			}
		}
	})

	t.Run("To limits a rule to one recipient", func(t *testing.T) {
		t.Parallel()
		for _, verb := range []smtptest.Verb{smtptest.Rcpt, smtptest.Data, smtptest.EndOfData} {
			srv := smtptest.Start(t, smtptest.Options{})
			srv.Script(smtptest.At(verb).To(func(to string) bool { return to == "bad@example.com" }).Reply(550))
			failedAt, err := talk(dial(t, srv), "good@example.com")
			require.NoError(t, err, verb)
			require.Empty(t, failedAt)
			failedAt, err = talk(dial(t, srv), "good@example.com", "bad@example.com")
			require.Error(t, err, verb)
			require.Equal(t, verb, failedAt)
		}
	})

	t.Run("Delay ends in the reply", func(t *testing.T) {
		t.Parallel()
		const delay = 30 * time.Millisecond
		srv := smtptest.Start(t, smtptest.Options{})
		srv.Script(smtptest.At(smtptest.EndOfData).Delay(delay))
		start := time.Now()
		_, err := talk(dial(t, srv), "b@example.com")
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(start), delay)
		require.True(t, srv.Received()[0].Accepted)

		srv.Script(smtptest.At(smtptest.Rcpt).Delay(delay).Reply(452))
		start = time.Now()
		_, err = talk(dial(t, srv), "b@example.com")
		require.ErrorContains(t, err, "452")
		require.GreaterOrEqual(t, time.Since(start), delay)
	})

	t.Run("Until ends in the reply", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		release := make(chan struct{})
		srv.Script(smtptest.At(smtptest.EndOfData).Until(release))
		conn := dial(t, srv)
		talked := make(chan error, 1)
		go func() {
			_, err := talk(conn, "b@example.com")
			talked <- err
		}()
		require.NoError(t, srv.WaitReached(within(t), smtptest.EndOfData, 1))
		require.False(t, srv.Received()[0].Accepted)
		close(release)
		require.NoError(t, <-talked)
		require.True(t, srv.Received()[0].Accepted)
	})

	t.Run("AfterMails spares what comes first over a connection", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		srv.Script(smtptest.At(smtptest.Mail).Reply(421).AfterMails(1))
		client, err := smtp.NewClient(dial(t, srv), "127.0.0.1")
		require.NoError(t, err)
		require.NoError(t, client.Hello("test"))
		require.NoError(t, client.Mail("a@example.com"))
		require.NoError(t, client.Rcpt("b@example.com"))
		body, err := client.Data()
		require.NoError(t, err)
		require.NoError(t, body.Close())
		require.ErrorContains(t, client.Mail("a@example.com"), "421")
		_, err = talk(dial(t, srv), "b@example.com")
		require.NoError(t, err, "another connection")
	})

	t.Run("may change while clients talk", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		const clients = 20
		var senders sync.WaitGroup
		for range clients {
			conn := dial(t, srv)
			senders.Go(func() { _, _ = talk(conn, "b@example.com") })
		}
		for range 50 {
			srv.Script(smtptest.At(smtptest.Rcpt).Reply(450).Times(1), smtptest.At(smtptest.EndOfData).Cut().Times(2))
			srv.Script()
			srv.Received()
		}
		senders.Wait()
		require.Equal(t, clients, srv.Connections())
		for _, m := range srv.Received() {
			require.True(t, strings.HasSuffix(string(m.Data), "body\r\n"))
		}
	})
}

func TestSettled(t *testing.T) {
	t.Parallel()
	settled := make(chan smtptest.Message, 2)
	srv := smtptest.Start(t, smtptest.Options{Settled: func(m smtptest.Message) { settled <- m }})
	_, err := talk(dial(t, srv), "b@example.com")
	require.NoError(t, err)
	require.True(t, (<-settled).Accepted)
	srv.Script(smtptest.At(smtptest.EndOfData).Cut())
	_, err = talk(dial(t, srv), "b@example.com")
	require.Error(t, err)
	m := <-settled
	require.False(t, m.Accepted)
	require.Equal(t, []string{"b@example.com"}, m.To)
	require.False(t, m.Refused, "nobody knows")
	srv.Script(smtptest.At(smtptest.EndOfData).Reply(452))
	_, err = talk(dial(t, srv), "b@example.com")
	require.Error(t, err)
	require.True(t, (<-settled).Refused)
	require.Empty(t, srv.Received(), "nothing is kept")
}
