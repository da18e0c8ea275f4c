package mailer_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/mailer"
)

func trusting(srv *smtptest.Server) *tls.Config { return &tls.Config{RootCAs: srv.CertPool()} }

func TestTLSModes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		server    smtptest.TLSMode
		mode      mailer.TLSMode
		distrust  bool
		encrypted bool
		failsAt   string
	}{
		{name: "none", server: smtptest.StartTLS, mode: mailer.TLSNone},
		{name: "starttls", server: smtptest.StartTLS, mode: mailer.TLSStartTLS, encrypted: true},
		{name: "starttls not offered", server: smtptest.NoTLS, mode: mailer.TLSStartTLS, failsAt: "STARTTLS"},
		{name: "starttls, unknown certificate", server: smtptest.StartTLS, mode: mailer.TLSStartTLS, distrust: true, failsAt: "STARTTLS"},
		{name: "opportunistic", server: smtptest.StartTLS, mode: mailer.TLSOpportunistic, encrypted: true},
		{name: "opportunistic, not offered", server: smtptest.NoTLS, mode: mailer.TLSOpportunistic},
		{name: "opportunistic, unknown certificate", server: smtptest.StartTLS, mode: mailer.TLSOpportunistic, distrust: true, failsAt: "STARTTLS"},
		{name: "implicit", server: smtptest.ImplicitTLS, mode: mailer.TLSImplicit, encrypted: true},
		{name: "implicit, unknown certificate", server: smtptest.ImplicitTLS, mode: mailer.TLSImplicit, distrust: true, failsAt: "TLS"},
		{name: "implicit against a clear port", server: smtptest.NoTLS, mode: mailer.TLSImplicit, failsAt: "TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.Start(t, smtptest.Options{TLS: tt.server})
			m := newMailer(t, to(srv, func(o *mailer.Options) {
				o.TLS = tt.mode
				if !tt.distrust {
					o.TLSConfig = trusting(srv)
				}
			}))
			if tt.failsAt != "" {
				failed := sendFails(t, m, t.Context(), aMail())
				require.Equal(t, mailer.Temporary, failed.Class)
				require.Equal(t, tt.failsAt, failed.Verb)
				require.NotContains(t, failed.Error(), "not SMTP", "the operator must see what is wrong with TLS")
				require.Zero(t, srv.Reached(smtptest.Mail))
				return
			}
			require.NoError(t, m.Send(t.Context(), aMail(), func(context.Context) error { return nil }))
			require.Equal(t, tt.encrypted, srv.Received()[0].TLS)
		})
	}
}

func TestCertificateMustBelongToTheHost(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{TLS: smtptest.ImplicitTLS})
	failed := sendFails(t, newMailer(t, to(srv, func(o *mailer.Options) {
		o.TLS, o.TLSConfig = mailer.TLSImplicit, trusting(srv)
		o.TLSConfig.ServerName = "smtp.example.org"
	})), t.Context(), aMail())
	require.Equal(t, mailer.Temporary, failed.Class)
	var cert *tls.CertificateVerificationError
	require.ErrorAs(t, failed, &cert)
}

func TestAuth(t *testing.T) {
	t.Parallel()
	server := smtptest.Options{Username: "robot", Password: password}
	encrypted := server
	encrypted.TLS = smtptest.StartTLS
	tests := []struct {
		name               string
		server             smtptest.Options
		username, password string
		code               int // 0: the mail is sent
		verb               string
	}{
		{name: "over TLS", server: encrypted, username: "robot", password: password},
		{name: "in clear to loopback", server: server, username: "robot", password: password},
		{name: "wrong password", server: encrypted, username: "robot", password: "wrong horse", code: 535, verb: "AUTH"},
		{name: "no credentials", server: server, code: 530, verb: "MAIL"},
		{name: "server without accounts", server: smtptest.Options{}, username: "robot", password: password},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.Start(t, tt.server)
			m := newMailer(t, to(srv, func(o *mailer.Options) {
				o.TLS, o.TLSConfig = mailer.TLSOpportunistic, trusting(srv)
				o.Username, o.Password = tt.username, tt.password
			}))
			if tt.code == 0 {
				require.NoError(t, m.Send(t.Context(), aMail(), func(context.Context) error { return nil }))
				return
			}
			failed := sendFails(t, m, t.Context(), aMail())
			require.Equal(t, mailer.Temporary, failed.Class, "credentials can be repaired without touching the mail")
			require.Equal(t, tt.code, failed.Code)
			require.Equal(t, tt.verb, failed.Verb)
			require.NotContains(t, failed.Error(), "horse")
			require.NotContains(t, failed.Error(), "robot")
		})
	}
}

func TestAuthMechanismIsWhatTheServerOffers(t *testing.T) {
	t.Parallel()
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	tests := []struct {
		name    string
		answers map[string]string
		sends   []string // nil: refused without a word
	}{
		{"PLAIN first", map[string]string{"EHLO": "250-x\r\n250 AUTH LOGIN PLAIN"}, []string{"AUTH PLAIN " + encoded("\x00robot\x00"+password)}},
		{"LOGIN only", map[string]string{
			"EHLO": "250-x\r\n250 AUTH LOGIN", "AUTH": "334 " + encoded("Username:"),
			encoded("robot"): "334 " + encoded("Password:"), encoded(password): "235 ok",
		}, []string{"AUTH LOGIN", encoded("robot"), encoded(password)}},
		{"neither", map[string]string{"EHLO": "250-x\r\n250 AUTH GSSAPI XPLAIN"}, nil},
		{"no AUTH", map[string]string{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := startPeculiar(t, tt.answers)
			opts := options()
			opts.Port, opts.Username, opts.Password = srv.port, "robot", password
			opts.Idle = time.Millisecond // the server has said all once the connection ends
			m := newMailer(t, opts)
			if tt.sends == nil {
				failed := sendFails(t, m, t.Context(), aMail())
				require.Equal(t, mailer.Temporary, failed.Class)
				require.Equal(t, "AUTH", failed.Verb)
				require.ErrorContains(t, failed, "PLAIN, LOGIN and CRAM-MD5")
			} else {
				require.NoError(t, m.Send(t.Context(), aMail(), func(context.Context) error { return nil }))
			}
			var lines []string
			for line := range srv.lines {
				lines = append(lines, line)
			}
			all := strings.Join(lines, "\n")
			require.Equal(t, tt.sends != nil, strings.Contains(all, "AUTH"))
			require.Contains(t, all, strings.Join(tt.sends, "\n"))
		})
	}
}
