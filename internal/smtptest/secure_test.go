package smtptest_test

import (
	"crypto/tls"
	"net/textproto"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wneessen/go-mail"

	"github.com/smap-platform/identity/internal/smtptest"
)

func TestAuth(t *testing.T) {
	t.Parallel()
	t.Run("checks the credentials", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{Username: "user", Password: "secret"})
		tests := map[string]struct {
			method         mail.SMTPAuthType
			user, password string
			refused        string
		}{
			"plain":          {mail.SMTPAuthPlainNoEnc, "user", "secret", ""},
			"login":          {mail.SMTPAuthLoginNoEnc, "user", "secret", ""},
			"wrong password": {mail.SMTPAuthPlainNoEnc, "user", "wrong", "535"},
			"wrong user":     {mail.SMTPAuthLoginNoEnc, "other", "secret", "535"},
			"none":           {mail.SMTPAuthNoAuth, "", "", "530"},
		}
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				err := sendMail(t, srv, mail.WithTLSPolicy(mail.NoTLS), mail.WithSMTPAuth(test.method),
					mail.WithUsername(test.user), mail.WithPassword(test.password))
				if test.refused == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, test.refused)
			})
		}
	})

	t.Run("follows the protocol", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{Username: "user", Password: "secret"})
		for name, test := range map[string]struct {
			say  []string
			code int
		}{
			"plain, asked for":     {[]string{"AUTH PLAIN", "AHVzZXIAc2VjcmV0"}, 235},
			"login, user at once":  {[]string{"AUTH LOGIN dXNlcg==", "c2VjcmV0"}, 235},
			"not base64":           {[]string{"AUTH PLAIN ???"}, 535},
			"unknown mechanism":    {[]string{"AUTH SCRAM-SHA-1"}, 535},
			"STARTTLS not offered": {[]string{"STARTTLS"}, 502},
			"unknown command":      {[]string{"VRFY a"}, 500},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				text := textproto.NewConn(dial(t, srv))
				_, _, err := text.ReadResponse(220)
				require.NoError(t, err)
				for i, line := range test.say {
					require.NoError(t, text.PrintfLine("%s", line))
					want := 334
					if i == len(test.say)-1 {
						want = test.code
					}
					_, _, err := text.ReadResponse(want)
					require.NoError(t, err)
				}
			})
		}
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mode   smtptest.TLSMode
		option mail.Option
	}{
		"STARTTLS": {smtptest.StartTLS, mail.WithTLSPolicy(mail.TLSMandatory)},
		"implicit": {smtptest.ImplicitTLS, mail.WithSSL()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.Start(t, smtptest.Options{TLS: test.mode, Username: "user", Password: "secret"})
			trusting := mail.WithTLSConfig(&tls.Config{RootCAs: srv.CertPool(), ServerName: srv.Host()})
			login := []mail.Option{mail.WithSMTPAuth(mail.SMTPAuthPlain), mail.WithUsername("user"), mail.WithPassword("secret")}
			require.NoError(t, sendMail(t, srv, append(login, test.option, trusting)...))
			mails := srv.Received()
			require.Len(t, mails, 1)
			require.True(t, mails[0].TLS)
			require.True(t, mails[0].Accepted)
			require.Equal(t, "evt_1@smap.example", mails[0].MessageID)

			distrusting := mail.WithTLSConfig(&tls.Config{ServerName: srv.Host()})
			require.Error(t, sendMail(t, srv, append(login, test.option, distrusting)...), "the certificate is checked")
			require.Len(t, srv.Received(), 1)
		})
	}
	t.Run("refused STARTTLS", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{TLS: smtptest.StartTLS})
		srv.Script(smtptest.At(smtptest.Upgrade).Reply(454))
		require.ErrorContains(t, sendMail(t, srv, mail.WithTLSPolicy(mail.TLSMandatory)), "454")
	})
	t.Run("closing does not wait for a handshake", func(t *testing.T) {
		t.Parallel()
		srv := smtptest.Start(t, smtptest.Options{TLS: smtptest.ImplicitTLS})
		dial(t, srv)
		srv.Close()
		require.Zero(t, srv.Connections())
	})
}

// sendMail sends one mail with the client the service uses.
func sendMail(t *testing.T, srv *smtptest.Server, opts ...mail.Option) error {
	t.Helper()
	client, err := mail.NewClient(srv.Host(), append(opts, mail.WithPort(srv.Port()), mail.WithTimeout(patience))...)
	require.NoError(t, err)
	m := mail.NewMsg()
	require.NoError(t, m.From("no-reply@smap.example"))
	require.NoError(t, m.To("b@example.com"))
	m.SetMessageIDWithValue("evt_1@smap.example")
	m.SetBodyString(mail.TypeTextPlain, "hello")
	return client.DialAndSendWithContext(within(t), m)
}
