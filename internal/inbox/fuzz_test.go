package inbox

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever a mail consists of, it can be shown.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "\r\n", "Subject: =?utf-8?q?M=C3=A3?=\r\nFrom: An <an@x.vn>\r\n\r\nhello\r\n", "Subject: a\r\n b\r\nContent-Type: text/html\r\n\r\n<b>x</b>",
		"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: text/html; charset=utf-16\r\n\r\n\x00<\r\n--b--",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n", "Content-Type: ;;\r\n\r\nx", "no header",
		"Content-Transfer-Encoding: base64\r\n\r\n!!!", "Content-Transfer-Encoding: x-unknown\r\n\r\nx", "Subject: \xff\r\n\r\n\xff", "From: <\r\nMessage-Id: <<>>\r\n\r\n",
		"Content-Type: text/plain; charset=x-unknown\r\n\r\n\xe4", "Content-Transfer-Encoding: quoted-printable\r\n\r\n=\r\n=zz=", ": x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := parse("from@x.vn", raw, time.Unix(1_800_000_000, 0))
		require.NotNil(t, m.Headers)
		shown, err := json.Marshal(m)
		require.NoError(t, err)
		var again Message
		require.NoError(t, json.Unmarshal(shown, &again))
		again.Headers, again.MessageID = m.Headers, m.MessageID
		require.Equal(t, m, again, "nothing of it is lost on the way to the page")
	})
}
