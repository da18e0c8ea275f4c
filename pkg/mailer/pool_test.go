package mailer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/mailer"
)

func send(t *testing.T, m *mailer.Mailer) error {
	t.Helper()
	return m.Send(t.Context(), aMail(), func(context.Context) error { return nil })
}

// within is how long ctx lives at most.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestConnections(t *testing.T) {
	t.Parallel()
	for _, pipelining := range []bool{false, true} {
		t.Run(fmt.Sprintf("carry one mail after the other, pipelining %v", pipelining), func(t *testing.T) {
			t.Parallel()
			srv := smtptest.Start(t, smtptest.Options{
				Pipelining: pipelining, TLS: smtptest.StartTLS, Username: "robot", Password: password,
			})
			m := newMailer(t, to(srv, func(o *mailer.Options) {
				o.TLS, o.TLSConfig = mailer.TLSStartTLS, trusting(srv)
				o.Username, o.Password = "robot", password
				o.MailsPerConnection = 3
			}))
			for range 7 {
				require.NoError(t, send(t, m))
			}
			require.Len(t, srv.Received(), 7)
			require.Equal(t, 3, srv.Connections(), "three mails for each")
			require.Equal(t, 2, srv.Reached(smtptest.Quit))
			m.Close()
			require.Equal(t, 3, srv.Reached(smtptest.Quit), "Close says goodbye")
			require.NoError(t, send(t, m), "a mail of the drain")
			require.Equal(t, 4, srv.Reached(smtptest.Quit))
		})

		t.Run(fmt.Sprintf("survive a refusal of recipient or message, pipelining %v", pipelining), func(t *testing.T) {
			t.Parallel()
			for _, at := range []smtptest.Verb{smtptest.Rcpt, smtptest.Data, smtptest.EndOfData} {
				srv := smtptest.Start(t, smtptest.Options{Pipelining: pipelining})
				m := newMailer(t, to(srv))
				srv.Script(smtptest.At(at).Reply(451).Times(1))
				require.Error(t, send(t, m))
				require.NoError(t, send(t, m))
				require.Equal(t, 1, srv.Connections(), at)
			}
		})

		// The server has not heard of the mail when one of these comes: its try must not be used up.
		t.Run(fmt.Sprintf("are replaced when they died while idle, pipelining %v", pipelining), func(t *testing.T) {
			t.Parallel()
			for name, fault := range map[string]smtptest.Rule{
				"cut":          smtptest.At(smtptest.Mail).Cut(),
				"421":          smtptest.At(smtptest.Mail).Reply(421),
				"too many":     smtptest.At(smtptest.Mail).Reply(452),
				"login is out": smtptest.At(smtptest.Mail).Reply(530),
			} {
				srv := smtptest.Start(t, smtptest.Options{Pipelining: pipelining})
				m := newMailer(t, to(srv))
				require.NoError(t, send(t, m))
				srv.Script(fault.Times(1))
				require.NoError(t, send(t, m), name)
				require.Equal(t, 2, srv.Connections(), name)
				require.Len(t, srv.Received(), 2, name)
			}
		})

		t.Run(fmt.Sprintf("that died with the server are all left, pipelining %v", pipelining), func(t *testing.T) {
			t.Parallel()
			srv := smtptest.Start(t, smtptest.Options{Pipelining: pipelining})
			m := newMailer(t, to(srv))
			srv.Script(smtptest.At(smtptest.EndOfData).Delay(100 * time.Millisecond)) // so that each has a connection
			var sent sync.WaitGroup
			for range 4 {
				sent.Go(func() { _ = send(t, m) })
			}
			sent.Wait()
			srv.Close()
			again := smtptest.Start(t, smtptest.Options{Addr: srv.Addr(), Pipelining: pipelining})
			require.NoError(t, send(t, m))
			require.Equal(t, 1, again.Connections())
		})
	}

	t.Run("a panic in accepted costs none", func(t *testing.T) {
		t.Parallel()
		m := newMailer(t, to(smtptest.Start(t, smtptest.Options{}), func(o *mailer.Options) {
			o.Connections, o.Timeout = 2, patience
		}))
		for range 2 {
			require.Panics(t, func() {
				_ = m.Send(t.Context(), aMail(), func(context.Context) error { panic("boom") })
			})
		}
		require.NoError(t, send(t, m))
	})

	t.Run("a refusal on a fresh one is told", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		m := newMailer(t, to(srv))
		require.NoError(t, send(t, m))
		srv.Script(smtptest.At(smtptest.Mail).Reply(550))
		failed := sendFails(t, m, t.Context(), aMail())
		require.Equal(t, mailer.Us, failed.Of)
		require.Equal(t, 3, srv.Reached(smtptest.Mail), "the old connection once, a new one once")
	})

	t.Run("end when nothing has used them", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		m := newMailer(t, to(srv, func(o *mailer.Options) { o.Idle = time.Millisecond }))
		require.NoError(t, send(t, m))
		require.NoError(t, srv.WaitReached(within(t), smtptest.Quit, 1))
		require.NoError(t, send(t, m))
		require.Equal(t, 2, srv.Connections())
	})
}

func TestPipelining(t *testing.T) {
	t.Parallel()
	server := func(t *testing.T) (*smtptest.Server, *mailer.Mailer) {
		t.Helper()
		srv := smtptest.Start(t, smtptest.Options{Pipelining: true})
		return srv, newMailer(t, to(srv))
	}
	// smtptest says 503 to DATA without a recipient; a server may say 354 all the same (RFC 2920 §3.1).
	t.Run("sends no dot for a recipient that was refused", func(t *testing.T) {
		t.Parallel()
		srv := startPeculiar(t, map[string]string{"EHLO": "250-x\r\n250 PIPELINING", "RCPT": "550 5.1.1 unknown"})
		opts := options()
		opts.Port = srv.port
		failed := sendFails(t, newMailer(t, opts), t.Context(), aMail())
		require.Equal(t, mailer.Permanent, failed.Class)
		require.Equal(t, "RCPT", failed.Verb)
		var said []string
		for line := range srv.lines { // closed with the connection
			said = append(said, line)
		}
		require.Equal(t, "DATA", said[len(said)-1])
	})

	t.Run("asks for DATA by itself when there are copies", func(t *testing.T) {
		t.Parallel()
		srv, m := server(t)
		srv.Script(smtptest.At(smtptest.Rcpt).Reply(450).Times(1))
		failed := sendFails(t, m, t.Context(), copied())
		require.Equal(t, "RCPT", failed.Verb)
		require.Zero(t, srv.Reached(smtptest.Data))
		require.NoError(t, m.Send(t.Context(), copied(), func(context.Context) error { return nil }))
		require.Len(t, srv.Received()[0].To, 4)
	})

	t.Run("names the verb that was refused first", func(t *testing.T) {
		t.Parallel()
		for _, step := range steps[4:] {
			srv, m := server(t)
			srv.Script(smtptest.At(step.at).Reply(451))
			require.Equal(t, step.verb, sendFails(t, m, t.Context(), aMail()).Verb)
		}
	})
}

func TestBulk(t *testing.T) {
	t.Parallel()
	toMany := func(address string) bool { return address == "many@example.com" }
	many := func(mail *mailer.Mail) { mail.Bulk, mail.To = true, "many@example.com" }

	t.Run("leaves half of the connections to others", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		srv.Script(smtptest.At(smtptest.Rcpt).To(toMany).Hang())
		m := newMailer(t, to(srv, func(o *mailer.Options) { o.Connections, o.Timeout = 4, time.Hour }))
		ctx, stop := context.WithCancel(t.Context())
		var hanging sync.WaitGroup
		defer hanging.Wait()
		defer stop()
		for range 4 {
			hanging.Go(func() {
				mail := aMail()
				many(&mail)
				_ = m.Send(ctx, mail, func(context.Context) error { return nil })
			})
		}
		require.NoError(t, srv.WaitReached(within(t), smtptest.Rcpt, 2))
		for range 20 {
			require.NoError(t, send(t, m))
		}
		require.Equal(t, 3, srv.Connections(), "two hang, one carries the others")
	})

	t.Run("a server that takes no more connections is shared", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		m := newMailer(t, to(srv, func(o *mailer.Options) { o.Connections, o.Timeout = 8, time.Hour }))
		release := make(chan struct{})
		held := make(chan struct{})
		go func() {
			_ = m.Send(t.Context(), aMail(), func(context.Context) error { close(held); <-release; return nil })
		}()
		<-held
		srv.Script(smtptest.At(smtptest.Greeting).Reply(421))
		answered := make(chan error, 1)
		go func() { answered <- send(t, m) }() // waits for the only connection that the server takes
		require.NoError(t, srv.WaitReached(within(t), smtptest.Greeting, 2))
		close(release)
		require.NoError(t, <-answered, "not an attempt was lost")
		require.Len(t, srv.Received(), 2)
		require.Equal(t, 2, srv.Connections())
	})

	t.Run("one connection alone is a setting that is refused", func(t *testing.T) {
		t.Parallel()
		opts := options()
		opts.Connections = 1
		_, err := mailer.New(opts)
		require.ErrorContains(t, err, "2 connections")
	})
}

func TestCRAMMD5(t *testing.T) {
	t.Parallel()
	for given, ok := range map[string]bool{password: true, "wrong": false} {
		srv := smtptest.Start(t, smtptest.Options{Auth: "XOAUTH2 CRAM-MD5", Username: "robot", Password: password})
		m := newMailer(t, to(srv, func(o *mailer.Options) { o.Username, o.Password = "robot", given }))
		if ok {
			require.NoError(t, send(t, m))
			continue
		}
		failed := sendFails(t, m, t.Context(), aMail())
		require.Equal(t, 535, failed.Code)
		require.Equal(t, mailer.Us, failed.Of)
	}
}
