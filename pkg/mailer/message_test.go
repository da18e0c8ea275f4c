package mailer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
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
	require.NoError(t, m.Send(t.Context(), sent, accept))

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
	for _, absent := range []string{"User-Agent", "X-Mailer", "Bcc", "Cc", "Reply-To"} {
		require.NotContains(t, string(got.Data), "\r\n"+absent+":", "not even an empty one")
	}
	require.Equal(t, []string{"text/plain", sent.Text, "text/html", sent.HTML}, alternatives(t, message))
}

// accept is a callback that records nothing.
func accept(context.Context) error { return nil }

// arrive sends a mail and returns it as the server received it.
func arrive(t *testing.T, srv *smtptest.Server, sent mailer.Mail) (smtptest.Message, *mail.Message) {
	t.Helper()
	require.NoError(t, newMailer(t, to(srv)).Send(t.Context(), sent, accept))
	received := srv.Received()
	got := received[len(received)-1]
	require.True(t, got.Accepted)
	requireSafeLines(t, got.Data)
	message, err := mail.ReadMessage(bytes.NewReader(got.Data))
	require.NoError(t, err)
	return got, message
}

func TestOneContentIsOnePart(t *testing.T) {
	t.Parallel()
	page := "<html><body><p>Mã xác minh: <b>123456</b></p>\n.\n" + strings.Repeat("<p>dài</p>", 100) + "</body></html>\n"
	for name, test := range map[string]struct{ text, html, kind string }{
		"text only": {"the secret text\n", "", "text/plain"},
		"HTML only": {"", page, "text/html"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := aMail()
			sent.Text, sent.HTML = test.text, test.html
			_, message := arrive(t, smtptest.Start(t, smtptest.Options{}), sent)
			kind, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
			require.NoError(t, err)
			require.Equal(t, test.kind, kind)
			require.Equal(t, "utf-8", strings.ToLower(params["charset"]))
			require.Equal(t, "quoted-printable", message.Header.Get("Content-Transfer-Encoding"))
			content, err := io.ReadAll(quotedprintable.NewReader(message.Body))
			require.NoError(t, err)
			require.Equal(t, test.text+test.html, strings.ReplaceAll(string(content), "\r\n", "\n"))
		})
	}
}

func TestCopiesAndReplyTo(t *testing.T) {
	t.Parallel()
	sent := aMail()
	sent.ReplyTo = "help@smap.example"
	for i := range 40 { // more than fit into one line of a header
		sent.Cc = append(sent.Cc, fmt.Sprintf("copy.number.%d@department.example.com", i))
	}
	got, message := arrive(t, smtptest.Start(t, smtptest.Options{}), sent)
	require.Equal(t, append([]string{sent.To}, sent.Cc...), got.To, "the recipient first")
	for header, want := range map[string][]string{"To": {sent.To}, "Cc": sent.Cc, "Reply-To": {sent.ReplyTo}} {
		found, err := message.Header.AddressList(header)
		require.NoError(t, err, header)
		require.Len(t, found, len(want), header)
		for i, address := range found {
			require.Equal(t, &mail.Address{Address: want[i]}, address, header)
		}
	}
}

// A mail that nothing names still gets a name that says nothing, not even of this machine.
func TestAMessageIDIsMadeUp(t *testing.T) {
	t.Parallel()
	srv := smtptest.Start(t, smtptest.Options{})
	sent := aMail()
	sent.MessageID = ""
	first, _ := arrive(t, srv, sent)
	second, _ := arrive(t, srv, sent)
	for _, got := range []smtptest.Message{first, second} {
		require.Regexp(t, `^[A-Z2-7]{26,}@smap\.example$`, got.MessageID)
	}
	require.NotEqual(t, first.MessageID, second.MessageID)
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
