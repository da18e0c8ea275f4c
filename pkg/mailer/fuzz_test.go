package mailer

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
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
	f.Add("an@example.com", "=??B??=", "\r\x1f\n0")
	f.Add("an@example.com", strings.Repeat("x", 2000), text)
	f.Add("an@example.com", strings.Repeat("x", 70)+strings.Repeat("ạ", 30), text)
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
		if !strings.Contains(subject, "=?") { // which our own subjects have not: it would be shown decoded
			shown, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
			require.NoError(t, err)
			require.Equal(t, strings.TrimSpace(subject), strings.TrimSpace(shown))
		}
		body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
		require.NoError(t, err)
		want, shown := lines(text), lines(string(body))
		if strings.Contains(text, "\r") { // quotedprintable loses a break some time behind one of a carriage return alone
			want, shown = []string{strings.Join(want, "")}, []string{strings.Join(shown, "")}
		}
		require.Equal(t, want, shown)
	})
}

// lines returns a text without what a mail makes of the ends of lines.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' })
}

// What a server replies decides what becomes of a mail, and never appears in an error: it quotes addresses.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"250 ok\r\n", "550 5.1.1 <an@x.vn>: no such user\r\n", "550-5.7.1 blocked\r\n550 5.7.1 an@x.vn\r\n", "504 5.5.2 <name>: need fully-qualified hostname\r\n",
		"451 4.7.1 greylisted\r\n", "421\r\n", "550 5.1.1\n", "550 5.1111.1 x\r\n", "450 5.1.1 x\r\n", "999 5.1.1 x\r\n", "-50 x\r\n", "", "tls: an@x.vn\r\n", "5500 x\r\n",
		"250-an@x.vn\r\n251 x\r\n", "552 5.3.4 too large\r\n", "\xff\xff\xff x\r\n", "0005.1.1 x\r\n", "550 5.1.1\x1b[31m\r\n",
	} {
		f.Add([]byte(seed))
	}
	verbs := []string{verbConnect, verbGreeting, verbEHLO, verbSTARTTLS, verbAUTH, verbRSET, verbMAIL, verbRCPT, verbDATA, verbContent, verbEndOfData}
	f.Fuzz(func(t *testing.T, sent []byte) {
		_, _, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(sent))).ReadResponse(2)
		if err == nil {
			return
		}
		for _, verb := range verbs {
			failed := newError(context.Background(), verb, err)
			require.Regexp(t, `^mailer: (temporary|permanent|ambiguous) failure at [A-Z_]+(: -?[0-9]+( [245](\.[0-9]{1,3}){2})?)?(: (the server's reply is not SMTP|unexpected EOF))?$`, failed.Error())
			require.Equal(t, failed.Class == Permanent, failed.Of == Recipient || failed.Of == Message)
			if failed.Class == Permanent {
				require.Equal(t, 5, failed.Code/100, "only a server that says so ends a mail")
				require.Contains(t, []string{verbMAIL, verbRCPT, verbDATA, verbContent, verbEndOfData}, verb)
			}
			require.Equal(t, failed.Class == Ambiguous, verb == verbEndOfData && failed.Code/100 != 4 && failed.Code/100 != 5)
		}
	})
}
