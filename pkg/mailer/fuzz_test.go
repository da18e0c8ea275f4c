package mailer

import (
	"bytes"
	"io"
	"maps"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A message that is built has the headers it is meant to have, the one recipient, and the text, whatever these are: nothing
// in them becomes a header, a recipient, or the end of the message.
func FuzzMessage(f *testing.F) {
	const text = "Mã của bạn: 493817\n.\n"
	for _, to := range []string{
		"an@example.com", "o'brien+smap@example.com", "a..b@example.com", "an@example.com\r\nBcc: all@example.com", "An <an@example.com>", "an@b@x.vn", "a,b@x.vn",
		"=?utf-8?q?an?=@x.vn", "an@[127.0.0.1]", ".@x", "an@x.vn.", strings.Repeat("a", 250) + "@x.vn", "-oQ@x.vn", "a@%0d%0a", "@", "a%b!c@x",
	} {
		f.Add(to, "Mã xác minh", text)
	}
	f.Add("an@example.com", "Code\r\nBcc: all@example.com", text)
	f.Add("an@example.com", "=?utf-8?b?DQpCY2M6IGFsbEBleGFtcGxlLmNvbQ==?=", ".\r\n.\rQUIT\r\n")
	f.Add("an@example.com", strings.Repeat("ạ ", 500), strings.Repeat("x", 2000))
	f.Add("an@example.com", " ", "From here\n\n\x00\xff")
	f.Add("an@example.com", "\u2028\u0085", "=0D=0A.=0D=0A")
	m, err := New(Options{Host: "127.0.0.1", Port: 25, From: "no-reply@smap.example", FromName: "SMAP", TLS: TLSNone})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, to, subject, text string) {
		built, err := m.build(Mail{MessageID: "evt_1@smap.example", To: to, Subject: subject, Text: text})
		if err != nil {
			if len(to) > 12 {
				require.NotContains(t, err.Error(), to)
			}
			return
		}
		for line := range bytes.SplitSeq(bytes.TrimSuffix(built, []byte("\r\n")), []byte("\r\n")) {
			require.LessOrEqual(t, len(line), 998)
			require.False(t, bytes.ContainsFunc(line, func(r rune) bool { return r > '~' || r == '\r' || r == '\n' || r == 0 }), "%q", line)
		}
		got, err := mail.ReadMessage(bytes.NewReader(built))
		require.NoError(t, err)
		require.Equal(t, []string{
			"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To",
		}, slices.Sorted(maps.Keys(got.Header)))
		for name, values := range got.Header {
			require.Len(t, values, 1, name)
		}
		read, err := mail.ParseAddressList(got.Header.Get("To"))
		if err == nil { // some that exist are not of RFC 5322
			require.Len(t, read, 1)
			require.Equal(t, to, read[0].Address)
		}
		shown, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
		require.NoError(t, err)
		if !strings.Contains(subject, "=?") {
			require.Equal(t, strings.TrimSpace(subject), strings.TrimSpace(shown))
		}
		body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
		require.NoError(t, err)
		require.Equal(t, lines(text), lines(string(body)))
	})
}

// lines returns a text without what a mail makes of the ends of lines.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' })
}
