package smtp_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/smtp"
	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/mailer"
)

var _ notification.Mailer = (*smtp.Mailer)(nil)

var mail = notification.Mail{
	MessageID: "evt_1@smap.example", To: "an.nguyen@customer.example",
	Cc: []string{"binh@customer.example"}, ReplyTo: "help@smap.example",
	Content: notification.Content{Subject: "Your code", Text: "It is 123456.", HTML: "<p>It is 123456.</p>"},
}

func newMailer(t *testing.T, host string, port int, timeout time.Duration) *smtp.Mailer {
	t.Helper()
	client, err := mailer.New(mailer.Options{
		Host: host, Port: port, From: "no-reply@smap.example", TLS: mailer.TLSNone, Timeout: timeout, HelloName: "localhost",
	})
	require.NoError(t, err)
	return smtp.New(client)
}

func newServer(t *testing.T, script ...smtptest.Rule) *smtptest.Server {
	t.Helper()
	srv := smtptest.Start(t, smtptest.Options{})
	srv.Script(script...)
	return srv
}

func never(context.Context) error { return errors.New("nothing was accepted") }

func TestMailer(t *testing.T) {
	t.Parallel()
	t.Run("gives every failure a class and a place", func(t *testing.T) {
		t.Parallel()
		for name, test := range map[string]struct {
			rule  smtptest.Rule
			class notification.Class
			where string
		}{
			"refused greeting":       {smtptest.At(smtptest.Greeting).Reply(554), notification.ClassBlocked, "smtp_greeting_554"},
			"busy greeting":          {smtptest.At(smtptest.Greeting).Reply(421), notification.ClassBlocked, "smtp_greeting_421"},
			"cut at EHLO":            {smtptest.At(smtptest.Ehlo).Cut(), notification.ClassBlocked, "smtp_ehlo"},
			"sender later":           {smtptest.At(smtptest.Mail).Reply(451), notification.ClassBlocked, "smtp_mail_451"},
			"recipient later":        {smtptest.At(smtptest.Rcpt).Reply(450), notification.ClassTemporary, "smtp_rcpt_450"},
			"recipient never":        {smtptest.At(smtptest.Rcpt).Reply(550), notification.ClassRejected, "smtp_rcpt_550"},
			"login wanted":           {smtptest.At(smtptest.Mail).Reply(530), notification.ClassBlocked, "smtp_mail_530"},
			"data later":             {smtptest.At(smtptest.Data).Reply(452), notification.ClassTemporary, "smtp_data_452"},
			"data refused":           {smtptest.At(smtptest.Data).Reply(554), notification.ClassTemporary, "smtp_data_554"},
			"content later":          {smtptest.At(smtptest.EndOfData).Reply(421), notification.ClassTemporary, "smtp_end_of_data_421"},
			"content never":          {smtptest.At(smtptest.EndOfData).Reply(552), notification.ClassRejected, "smtp_end_of_data_552"},
			"silence at the dot":     {smtptest.At(smtptest.EndOfData).Hang(), notification.ClassAmbiguous, "smtp_end_of_data"},
			"cut after the dot":      {smtptest.At(smtptest.EndOfData).Cut(), notification.ClassAmbiguous, "smtp_end_of_data"},
			"silence before the dot": {smtptest.At(smtptest.Data).Hang(), notification.ClassTemporary, "smtp_data"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				srv := newServer(t, test.rule)
				err := newMailer(t, srv.Host(), srv.Port(), time.Second).Send(context.Background(), mail, never)
				requireFailure(t, err, test.class, test.where)
			})
		}
	})

	t.Run("without a server is refused as a whole", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t)
		host, port := srv.Host(), srv.Port()
		srv.Close()
		err := newMailer(t, host, port, time.Second).Send(context.Background(), mail, never)
		requireFailure(t, err, notification.ClassBlocked, "smtp_connect")
	})

	t.Run("refuses an unusable mail before it connects", func(t *testing.T) {
		t.Parallel()
		for name, spoil := range map[string]func(*notification.Mail){
			"two lines":  func(m *notification.Mail) { m.To = "an.nguyen@customer.example\r\nBcc: all@customer.example" },
			"no one":     func(m *notification.Mail) { m.To = "" },
			"a copy":     func(m *notification.Mail) { m.Cc = []string{"an.nguyen@customer.example\r\nDATA"} },
			"a reply-to": func(m *notification.Mail) { m.ReplyTo = "An Nguyen <an.nguyen@customer.example>" },
			"nothing":    func(m *notification.Mail) { m.Text, m.HTML = "", "" },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				srv := newServer(t)
				bad := mail
				spoil(&bad)
				err := newMailer(t, srv.Host(), srv.Port(), time.Second).Send(context.Background(), bad, never)
				requireFailure(t, err, notification.ClassInvalid, "smtp_message")
				require.Zero(t, srv.Connections())
			})
		}
	})

	t.Run("returns the context's error when cancelled", func(t *testing.T) {
		t.Parallel()
		for verb, class := range map[smtptest.Verb]notification.Class{
			smtptest.Rcpt: notification.ClassTemporary, smtptest.EndOfData: notification.ClassAmbiguous,
		} {
			srv := newServer(t, smtptest.At(verb).Hang())
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- newMailer(t, srv.Host(), srv.Port(), time.Minute).Send(ctx, mail, never) }()
			require.NoError(t, srv.WaitReached(context.Background(), verb, 1))
			cancel()
			err := <-done
			require.ErrorIs(t, err, context.Canceled, verb)
			var failure *notification.SendError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, class, failure.Class, verb)
		}
	})

	t.Run("sends a mail and calls accepted once", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t)
		m := newMailer(t, srv.Host(), srv.Port(), 10*time.Second)
		calls := 0
		require.NoError(t, m.Send(context.Background(), mail, func(context.Context) error {
			calls++
			require.Zero(t, srv.Reached(smtptest.Quit), "recorded before the farewell")
			return nil
		}))
		require.Equal(t, 1, calls)
		received := srv.Received()
		require.Len(t, received, 1)
		require.Equal(t, mail.MessageID, received[0].MessageID)
		require.Equal(t, []string{mail.To, mail.Cc[0]}, received[0].To)
		require.Contains(t, string(received[0].Data), "Cc: <binh@customer.example>")
		require.Contains(t, string(received[0].Data), "Reply-To: <help@smap.example>")
		require.Contains(t, string(received[0].Data), "Subject: Your code")
		require.Contains(t, string(received[0].Data), "It is 123456.")
		require.Contains(t, string(received[0].Data), "<p>It is 123456.</p>")
	})

	t.Run("returns the error of accepted as it is", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t)
		errRecord := errors.New("the database is on fire")
		err := newMailer(t, srv.Host(), srv.Port(), 10*time.Second).Send(context.Background(), mail,
			func(context.Context) error { return errRecord })
		require.ErrorIs(t, err, errRecord)
		var failure *notification.SendError
		require.NotErrorAs(t, err, &failure, "the mail has been sent")
		require.NotContains(t, err.Error(), net.JoinHostPort(srv.Host(), strconv.Itoa(srv.Port())))
	})
}

// requireFailure also wants the error to be safe to log.
func requireFailure(t *testing.T, err error, class notification.Class, where string) {
	t.Helper()
	var failure *notification.SendError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, class, failure.Class, err)
	require.Equal(t, where, failure.Where, err)
	require.Equal(t, where, failure.ErrorClass())
	var cause *mailer.Error
	require.ErrorAs(t, err, &cause, "the mailer's own error is kept")
	for _, private := range []string{"an.nguyen", "customer.example", "123456", "Your code", "no-reply", "binh", "help@"} {
		require.NotContains(t, err.Error(), private)
	}
}
