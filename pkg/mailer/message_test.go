package mailer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/mailer"
)

func TestMessageAsItArrives(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	sent := mailer.Mail{
		MessageID: "evt_018f.verification@smap.example",
		To:        "o'brien+smap@example.com",
		Subject:   "Mã xác minh SMAP của bạn – một tiêu đề đủ dài để phải chia thành nhiều từ mã hóa khác nhau",
		Text:      "Dòng đầu\n.\n..\n.một dấu chấm\n" + strings.Repeat("dài ", 400) + "\nFrom here on\n",
		HTML:      "<p>Dòng <b>đầu</b></p>\n.\n<p>" + strings.Repeat("dài ", 400) + "</p>\n",
	}
	m := newMailer(t, to(srv, func(o *mailer.Options) { o.FromName = `Đội "SMAP", Việt Nam` }))
	require.NoError(t, m.Send(t.Context(), sent, func(context.Context) error { return nil }))

	got := srv.Received()[0]
	require.Equal(t, "noreply@smap.example", got.From)
	require.Equal(t, []string{sent.To}, got.To)
	require.Equal(t, sent.MessageID, got.MessageID)
	requireSafeLines(t, got.Data)

	message, err := mail.ReadMessage(bytes.NewReader(got.Data))
	require.NoError(t, err)
	from, err := message.Header.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, []*mail.Address{{Name: `Đội "SMAP", Việt Nam`, Address: "noreply@smap.example"}}, from)
	recipients, err := message.Header.AddressList("To")
	require.NoError(t, err)
	require.Equal(t, []*mail.Address{{Address: sent.To}}, recipients)
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, sent.Subject, subject)
	date, err := message.Header.Date()
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), date, time.Minute)
	require.True(t, strings.HasSuffix(message.Header.Get("Date"), "+0000"), "no time zone of this machine")
	require.Equal(t, "auto-generated", message.Header.Get("Auto-Submitted"))
	for _, absent := range []string{"User-Agent", "X-Mailer", "Bcc", "Reply-To"} {
		require.Empty(t, message.Header.Get(absent))
	}
	require.Equal(t, []string{"text/plain", sent.Text, "text/html", sent.HTML}, alternatives(t, message))
}

func TestTextWithoutHTMLIsOnePart(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	require.NoError(t, newMailer(t, to(srv)).Send(t.Context(), aMail(), func(context.Context) error { return nil }))
	message, err := mail.ReadMessage(bytes.NewReader(srv.Received()[0].Data))
	require.NoError(t, err)
	kind, _, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "text/plain", kind)
}

// requireSafeLines: 7-bit, CRLF only and at most 998 octets a line (RFC 5322 §2.1.1), whatever the server offers.
func requireSafeLines(t *testing.T, data []byte) {
	t.Helper()
	for _, line := range strings.Split(string(data), "\r\n") {
		require.LessOrEqual(t, len(line), 998)
		require.NotContains(t, line, "\r")
		require.NotContains(t, line, "\n")
		for _, c := range []byte(line) {
			require.Less(t, c, byte(0x80))
		}
	}
}

// alternatives gives type and decoded content of each part, in order.
func alternatives(t *testing.T, message *mail.Message) []string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	var found []string
	parts := multipart.NewReader(message.Body, params["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, "utf-8", strings.ToLower(params["charset"]))
		content, err := io.ReadAll(part) // the reader undoes quoted-printable
		require.NoError(t, err)
		found = append(found, kind, strings.ReplaceAll(string(content), "\r\n", "\n"))
	}
}
