package mailer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/mailer"
)

// accepts lets n recipients pass.
func accepts(n int) smtptest.Rule { return smtptest.At(smtptest.Rcpt).Times(n) }

func copied() mailer.Mail {
	mail := aMail()
	mail.Cc = []string{"first@example.com", "second@example.com", "third@example.com"}
	return mail
}

func TestARefusedCopyIsLeftOut(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"for now": 450, "too many": 452, "for want of a login": 530, "for ever": 550} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.Start(t, smtptest.Options{})
			srv.Script(accepts(2), smtptest.At(smtptest.Rcpt).Reply(code).Times(1))
			got, message := arrive(t, srv, copied())
			require.Equal(t, []string{"someone@example.com", "first@example.com", "third@example.com"}, got.To)
			listed, err := message.Header.AddressList("Cc")
			require.NoError(t, err)
			require.Len(t, listed, 3, "the header was written before the server was asked")
			require.Equal(t, 1, srv.Connections())
		})
	}
	t.Run("all of them", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{})
		srv.Script(accepts(1), smtptest.At(smtptest.Rcpt).Reply(550))
		got, _ := arrive(t, srv, copied())
		require.Equal(t, []string{"someone@example.com"}, got.To)
		require.Equal(t, 4, srv.Reached(smtptest.Rcpt))
	})
}

func TestARefusedRecipientEndsTheMailWhateverItsCopies(t *testing.T) {
	t.Parallel()
	for code, class := range map[int]mailer.Class{450: mailer.Temporary, 550: mailer.Permanent} {
		srv := smtptest.Start(t, smtptest.Options{})
		srv.Script(smtptest.At(smtptest.Rcpt).Reply(code).Times(1))
		mail := copied()
		failed := sendFails(t, newMailer(t, to(srv)), t.Context(), mail)
		require.Equal(t, class, failed.Class)
		require.Equal(t, "RCPT", failed.Verb)
		require.Equal(t, code, failed.Code)
		require.Equal(t, 1, srv.Reached(smtptest.Rcpt), "the server is asked once")
		require.Empty(t, srv.Received())
		requireDiscreet(t, failed, mail)
	}
}

// Only a reply leaves a copy out: silence or a lost connection ends the mail before anything was accepted.
func TestALostConnectionAtACopyIsNoRefusal(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]smtptest.Rule{
		"cut": smtptest.At(smtptest.Rcpt).Cut(), "421 and cut": smtptest.At(smtptest.Rcpt).Reply(421),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.Start(t, smtptest.Options{})
			srv.Script(accepts(1), rule)
			mail := copied()
			failed := sendFails(t, newMailer(t, to(srv)), t.Context(), mail)
			require.Equal(t, mailer.Temporary, failed.Class)
			require.Equal(t, "RCPT", failed.Verb)
			require.Empty(t, srv.Received())
			requireDiscreet(t, failed, mail)
		})
	}
	t.Run("no SMTP", func(t *testing.T) {
		t.Parallel()
		srv := startPeculiar(t, map[string]string{"RCPT": "250 ok\r\nthanks, first@example.com"})
		opts := options()
		opts.Port = srv.port
		mail := copied()
		failed := sendFails(t, newMailer(t, opts), t.Context(), mail)
		require.Equal(t, mailer.Temporary, failed.Class)
		require.Equal(t, "RCPT", failed.Verb)
		requireDiscreet(t, failed, mail)
	})
}
