package mailer_test

import (
	"context"
	"net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/mailer"
)

func options() mailer.Options {
	// Port 1 on loopback: a test that should not connect and does gets CONNECT instead of what it expects.
	return mailer.Options{Host: "127.0.0.1", Port: 1, From: "noreply@smap.example", FromName: "SMAP", TLS: mailer.TLSNone}
}

func aMail() mailer.Mail {
	return mailer.Mail{MessageID: "evt_1@smap.example", To: "someone@example.com", Subject: "Hello", Text: "the secret text"}
}

func TestNewListsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := mailer.New(mailer.Options{
		Port: 70000, From: "a@example.com, b@example.com", FromName: "SMAP\r\nBcc: x@example.com",
		TLS: "maybe", HelloName: "a\nb", Timeout: -1,
	})
	for _, problem := range []string{"host", "70000", "sender address", "sender name", `"maybe"`, "EHLO name", "negative"} {
		require.ErrorContains(t, err, problem)
	}
	_, err = mailer.New(options())
	require.NoError(t, err)
}

func TestSendRefusesBeforeConnecting(t *testing.T) {
	t.Parallel()
	longDomain := "a@" + strings.Repeat(strings.Repeat("d", 62)+".", 4) + "com" // 257
	to := func(address string) func(*mailer.Mail) {
		return func(mail *mailer.Mail) { mail.To = address }
	}
	cc := func(addresses ...string) func(*mailer.Mail) {
		return func(mail *mailer.Mail) { mail.Cc = addresses }
	}
	tests := map[string]func(*mailer.Mail){
		"empty address":            to(""),
		"CRLF in address":          to("someone@example.com\r\nRCPT TO:<victim@example.com>"),
		"LF in address":            to("some\none@example.com"),
		"trailing LF":              to("someone@example.com\n"),
		"NUL in address":           to("some\x00one@example.com"),
		"two addresses":            to("someone@example.com,other@example.com"),
		"two addresses, spaced":    to("someone@example.com, other@example.com"),
		"two at signs":             to("someone@example.com@example.org"),
		"display name":             to("Someone <someone@example.com>"),
		"angle brackets":           to("<someone@example.com>"),
		"ESMTP parameter":          to("someone@example.com> NOTIFY=NEVER"),
		"comment":                  to("someone@example.com(comment)"),
		"quoted local part":        to(`"some\"one"@example.com`),
		"group":                    to("group:someone@example.com;"),
		"no domain":                to("someone@"),
		"no local part":            to("@example.com"),
		"no at sign":               to("someone"),
		"non-ASCII local part":     to("ngườidùng@example.com"),
		"non-ASCII domain":         to("someone@vídụ.example"),
		"address with a comma":     to("some,one@example.com"),
		"encoded word":             to("=?utf-8?q?a?=<someone@example.com>"),
		"route":                    to("@hop.example:someone@example.com"),
		"backslash":                to(`some\one@example.com`),
		"address too long":         to(longDomain),
		"CRLF in subject":          func(mail *mailer.Mail) { mail.Subject = "Hello\r\nBcc: victim@example.com" },
		"CR in subject":            func(mail *mailer.Mail) { mail.Subject = "Hello\rBcc: victim@example.com" },
		"subject not UTF-8":        func(mail *mailer.Mail) { mail.Subject = "\xff\xfe" },
		"message id in brackets":   func(mail *mailer.Mail) { mail.MessageID = "<evt_1@smap.example>" },
		"message id without at":    func(mail *mailer.Mail) { mail.MessageID = "evt_1" },
		"CRLF in message id":       func(mail *mailer.Mail) { mail.MessageID = "evt_1\r\nBcc: x@smap.example" },
		"message id with two ats":  func(mail *mailer.Mail) { mail.MessageID = "evt_1@smap@example" },
		"neither text nor HTML":    func(mail *mailer.Mail) { mail.Text = "" },
		"CRLF in reply-to":         func(mail *mailer.Mail) { mail.ReplyTo = "help@smap.example\r\nBcc: victim@example.com" },
		"LF in reply-to":           func(mail *mailer.Mail) { mail.ReplyTo = "help@smap.example\nBcc: victim@example.com" },
		"display name in reply-to": func(mail *mailer.Mail) { mail.ReplyTo = "Help <help@smap.example>" },
		"two reply-tos":            func(mail *mailer.Mail) { mail.ReplyTo = "help@smap.example, victim@example.com" },
		"CRLF in cc":               cc("copy@example.com\r\nRCPT TO:<victim@example.com>"),
		"LF in cc":                 cc("copy@example.com\nBcc: victim@example.com"),
		"ESMTP parameter in cc":    cc("copy@example.com> NOTIFY=NEVER"),
		"two addresses in one cc":  cc("copy@example.com,victim@example.com"),
		"empty cc":                 cc(""),
		"second cc unusable":       cc("copy@example.com", "copy@example.com\r\nDATA"),
	}
	m, err := mailer.New(options())
	require.NoError(t, err)
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mail := aMail()
			spoil(&mail)
			failed := sendFails(t, m, context.Background(), mail)
			require.Equal(t, mailer.Permanent, failed.Class)
			require.Equal(t, "MESSAGE", failed.Verb)
			require.Zero(t, failed.Code)
			requireDiscreet(t, failed, mail)
		})
	}
}

// The previous release admitted such addresses, and some servers know them: every user who is stored gets their mail.
func TestPeculiarAddressesAreSent(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]string{
		"dots in a row":       "foo..bar@example.com",
		"a dot before the at": "a.@example.com",
		"a dot at the start":  ".a@example.com",
		"70 before the at":    strings.Repeat("b", 70) + "@example.com",
		"255 in all":          "a@" + strings.Repeat("d", 249) + ".com",
		"dots in the domain":  "a@example..com",
		"every atext":         "!#$%&'*+-/=?^_`{|}~@example.com",
		"an address literal":  "a@[192.0.2.1]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := aMail()
			sent.To = to
			got, message := arrive(t, smtptest.Start(t, smtptest.Options{}), sent)
			require.Equal(t, []string{to}, got.To, "in the envelope as it is")
			require.Equal(t, "Hello", message.Header.Get("Subject"))
			addresses, err := message.Header.AddressList("To")
			if strings.Contains(to, "@example..") { // only a local part can be quoted
				require.Equal(t, "<"+to+">", message.Header.Get("To"))
				return
			}
			require.NoError(t, err)
			require.Equal(t, []*mail.Address{{Address: to}}, addresses)
		})
	}
}

// sendFails sends a mail that must fail without having been accepted.
func sendFails(t *testing.T, m *mailer.Mailer, ctx context.Context, mail mailer.Mail) *mailer.Error {
	t.Helper()
	err := m.Send(ctx, mail, func(context.Context) error {
		t.Error("accepted was called for a mail that was not accepted")
		return nil
	})
	var failed *mailer.Error
	require.ErrorAs(t, err, &failed)
	return failed
}

// requireDiscreet looks for anything private in the text of an error.
func requireDiscreet(t *testing.T, err error, mail mailer.Mail) {
	t.Helper()
	for what, secret := range map[string]string{
		"recipient": mail.To, "cc": strings.Join(mail.Cc, ""), "reply-to": mail.ReplyTo, "subject": mail.Subject,
		"text": mail.Text, "HTML": mail.HTML, "password": password, "server text": serverText, "another's address": "victim",
	} {
		if secret != "" {
			require.NotContains(t, err.Error(), secret, what)
		}
	}
}

const (
	password   = "correct horse"
	serverText = "no such user here"
)
