package inbox_test

import (
	"context"
	"fmt"
	"net"
	"net/smtp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wneessen/go-mail"

	"github.com/smap-platform/identity/internal/inbox"
)

const patience = 10 * time.Second

// start runs an inbox on free ports until the test ends.
func start(t *testing.T, opts inbox.Options) *inbox.Inbox {
	t.Helper()
	opts.SMTPAddr, opts.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0"
	box := inbox.New(opts)
	require.NoError(t, box.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- box.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return box
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// send delivers a mail given with plain line ends.
func send(t *testing.T, box *inbox.Inbox, to []string, mail string) {
	t.Helper()
	wire := strings.ReplaceAll(mail, "\n", "\r\n")
	require.NoError(t, smtp.SendMail(box.SMTPAddr(), nil, "envelope@example.com", to, []byte(wire)))
}

func TestInbox(t *testing.T) {
	t.Parallel()
	t.Run("parses a mail", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{})
		tests := map[string]struct {
			mail string
			want inbox.Message
		}{
			"both bodies and encoded words": {
				mail: "From: =?utf-8?q?SMAP_=C4=90?= <no-reply@smap.example>\nTo: x@example.com\n" +
					"Subject: =?utf-8?q?M=C3=A3_x=C3=A1c_minh?=\nMessage-ID: <evt_1@smap.example>\nMIME-Version: 1.0\n" +
					"Content-Type: multipart/alternative; boundary=b\n\n" +
					"--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nM=C3=A3: 402917\n" +
					"--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPGI+NDAyOTE3PC9iPg==\n--b--\n",
				want: inbox.Message{
					From: "no-reply@smap.example", Subject: "Mã xác minh", MessageID: "evt_1@smap.example",
					Text: "Mã: 402917", HTML: "<b>402917</b>",
				},
			},
			"another charset": {
				mail: "From: a@example.com\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\nContent-Type: text/plain; charset=iso-8859-1\n" +
					"Content-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n",
				want: inbox.Message{From: "a@example.com", Subject: "Grüße", Text: "Grüße\n"},
			},
			"an attachment is not the text": {
				mail: "From: a@example.com\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n" +
					"--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\nattached\n" +
					"--b\nContent-Type: text/plain\n\nread me\n--b\nContent-Type: text/plain\n\nsecond\n--b--\n",
				want: inbox.Message{From: "a@example.com", Subject: "s", Text: "read me"},
			},
			"no From header": {
				mail: "Subject: s\n\nbody\n",
				want: inbox.Message{From: "envelope@example.com", Subject: "s", Text: "body\n"},
			},
			"dots at line starts": {
				mail: "From: a@example.com\nSubject: s\n\n.one\n..two\n",
				want: inbox.Message{From: "a@example.com", Subject: "s", Text: ".one\n..two\n"},
			},
			"unknown charset is shown as it came": {
				mail: "From: a@example.com\nSubject: s\nContent-Type: text/plain; charset=x-nonsense\n\nabc\n",
				want: inbox.Message{From: "a@example.com", Subject: "s", Text: "abc\n"},
			},
			"broken multipart is shown as it came": {
				mail: "From: a@example.com\nSubject: s\nContent-Type: multipart/alternative; boundary=b\n\nno parts here\n",
				want: inbox.Message{From: "a@example.com", Subject: "s", Text: "no parts here\n"},
			},
			"not a mail at all": {
				mail: "this line is no header\nnor is this\n",
				want: inbox.Message{From: "envelope@example.com", Text: "this line is no header\nnor is this\n"},
			},
		}
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				to := strings.ReplaceAll(name, " ", "-") + "@example.com"
				before := time.Now().UTC()
				send(t, box, []string{to}, test.mail)
				got, err := box.Wait(within(t), to, 1)
				require.NoError(t, err)
				m := got[0]
				require.NotEmpty(t, m.ID)
				require.Equal(t, time.UTC, m.ReceivedAt.Location())
				require.WithinRange(t, m.ReceivedAt, before.Truncate(time.Microsecond), time.Now())
				require.Equal(t, m.ReceivedAt.Truncate(time.Microsecond), m.ReceivedAt)
				require.Equal(t, m.Subject, m.Headers.Get("subject"))
				require.NotNil(t, m.Headers)
				test.want.ID, test.want.To, test.want.ReceivedAt, test.want.Headers = m.ID, to, m.ReceivedAt, m.Headers
				require.Equal(t, test.want, m)
			})
		}
	})

	t.Run("accepts the mail of the service's own client", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{})
		host, port, err := net.SplitHostPort(box.SMTPAddr())
		require.NoError(t, err)
		n, err := net.LookupPort("tcp", port)
		require.NoError(t, err)
		client, err := mail.NewClient(host, mail.WithPort(n), mail.WithTLSPolicy(mail.NoTLS),
			mail.WithSMTPAuth(mail.SMTPAuthPlainNoEnc), mail.WithUsername("any"), mail.WithPassword("thing"))
		require.NoError(t, err)
		m := mail.NewMsg()
		require.NoError(t, m.FromFormat("SMAP", "no-reply@smap.example"))
		require.NoError(t, m.To("an@example.com"))
		m.Subject("Mã xác minh SMAP")
		m.SetMessageIDWithValue("evt_7@smap.example")
		m.SetBodyString(mail.TypeTextPlain, "Mã của bạn: 123456")
		m.AddAlternativeString(mail.TypeTextHTML, "<p>Mã của bạn: <b>123456</b></p>")
		require.NoError(t, client.DialAndSendWithContext(within(t), m))

		got := box.Messages("an@example.com")
		require.Len(t, got, 1)
		require.Equal(t, "no-reply@smap.example", got[0].From)
		require.Equal(t, "Mã xác minh SMAP", got[0].Subject)
		require.Equal(t, "evt_7@smap.example", got[0].MessageID)
		require.Equal(t, "Mã của bạn: 123456", got[0].Text)
		require.Equal(t, "<p>Mã của bạn: <b>123456</b></p>", got[0].HTML)
	})

	t.Run("keeps a mail for each recipient", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{})
		send(t, box, []string{"Anna@Example.com", "bob@example.com"}, "Subject: both\nMessage-ID: <m@x>\n\nhello\n")
		send(t, box, []string{"bob@example.com"}, "Subject: only bob\n\nhello\n")

		anna := box.Messages(" anna@example.COM ")
		require.Len(t, anna, 1)
		require.Equal(t, "Anna@Example.com", anna[0].To)
		bob := box.Messages("bob@example.com")
		require.Equal(t, []string{"only bob", "both"}, subjects(bob))
		require.NotEqual(t, anna[0].ID, bob[1].ID)
		require.Equal(t, anna[0].MessageID, bob[1].MessageID)
		require.Len(t, box.Messages(""), 3)
		require.Equal(t, []inbox.Message{}, box.Messages("none@example.com"))
	})

	t.Run("keeps the newest mails", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{Capacity: 3})
		for i := range 5 {
			send(t, box, []string{"a@example.com"}, fmt.Sprintf("Subject: %d\n\nx\n", i))
		}
		require.Equal(t, []string{"4", "3", "2"}, subjects(box.Messages("a@example.com")))

		_, err := box.Wait(within(t), "a@example.com", 4)
		require.ErrorContains(t, err, "raise Options.Capacity")
	})

	t.Run("keeps no mail that is too large or cut off", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{})
		huge := "Subject: huge\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20_000)
		err := smtp.SendMail(box.SMTPAddr(), nil, "a@example.com", []string{"b@example.com"}, []byte(huge))
		require.ErrorContains(t, err, "552")

		conn, err := net.Dial("tcp", box.SMTPAddr())
		require.NoError(t, err)
		client, err := smtp.NewClient(conn, "test")
		require.NoError(t, err)
		require.NoError(t, client.Mail("a@example.com"))
		require.NoError(t, client.Rcpt("b@example.com"))
		body, err := client.Data()
		require.NoError(t, err)
		_, err = body.Write([]byte("Subject: half\r\n\r\nthe final dot never co"))
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		_, _, err = client.Text.ReadResponse(554)
		require.NoError(t, err, "the server is done with it")
		require.NoError(t, conn.Close())

		send(t, box, []string{"b@example.com"}, "Subject: whole\n\nx\n")
		require.Equal(t, []string{"whole"}, subjects(box.Messages("")))
	})

	t.Run("serves many senders and readers", func(t *testing.T) {
		t.Parallel()
		box := start(t, inbox.Options{Capacity: 50})
		var senders sync.WaitGroup
		errs := make(chan error, 40)
		for i := range 8 {
			senders.Go(func() {
				to := []string{fmt.Sprintf("user%d@example.com", i)}
				for range 5 {
					errs <- smtp.SendMail(box.SMTPAddr(), nil, "a@example.com", to, []byte("Subject: x\r\n\r\nx\r\n"))
					box.Messages("")
				}
			})
		}
		all, err := box.Wait(within(t), "", 40)
		senders.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		require.NoError(t, err)
		require.Len(t, all, 40)
		require.Len(t, box.Messages("user7@example.com"), 5)
	})

	t.Run("starts and stops", func(t *testing.T) {
		t.Parallel()
		t.Run("Run needs Listen", func(t *testing.T) {
			require.ErrorContains(t, inbox.New(inbox.Options{}).Run(within(t)), "call Listen first")
		})
		t.Run("a taken port is named and the other one is let go", func(t *testing.T) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer func() { _ = taken.Close() }()
			free := freeAddr(t)
			err = inbox.New(inbox.Options{SMTPAddr: free, HTTPAddr: taken.Addr().String()}).Listen()
			require.ErrorContains(t, err, "cannot listen for HTTP on "+taken.Addr().String())
			again, err := net.Listen("tcp", free)
			require.NoError(t, err)
			require.NoError(t, again.Close())
			require.ErrorContains(t, inbox.New(inbox.Options{SMTPAddr: taken.Addr().String()}).Listen(), "cannot listen for SMTP")
		})
		t.Run("stops with idle clients connected and frees the ports", func(t *testing.T) {
			box := inbox.New(inbox.Options{SMTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0"})
			require.NoError(t, box.Listen())
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- box.Run(ctx) }()
			client, err := smtp.Dial(box.SMTPAddr())
			require.NoError(t, err)
			defer func() { _ = client.Close() }()
			require.NoError(t, client.Hello("test"))
			cancel()
			require.NoError(t, <-done)
			require.Error(t, client.Noop())
			for _, addr := range []string{box.SMTPAddr(), box.HTTPAddr()} {
				again, err := net.Listen("tcp", addr)
				require.NoError(t, err)
				require.NoError(t, again.Close())
			}
		})
		t.Run("addresses", func(t *testing.T) {
			box := inbox.New(inbox.Options{})
			require.Equal(t, inbox.DefaultSMTPAddr, box.SMTPAddr())
			require.Equal(t, "http://"+inbox.DefaultHTTPAddr, box.URL())
			require.Equal(t, "http://127.0.0.1:9000", inbox.New(inbox.Options{HTTPAddr: "0.0.0.0:9000"}).URL())
			require.Equal(t, "http://127.0.0.1:9000", inbox.New(inbox.Options{HTTPAddr: ":9000"}).URL())
			require.Equal(t, "http://[::1]:9000", inbox.New(inbox.Options{HTTPAddr: "[::1]:9000"}).URL())
		})
	})
}

func TestWait(t *testing.T) {
	t.Parallel()
	box := start(t, inbox.Options{})
	type result struct {
		mails []inbox.Message
		err   error
	}
	ctx := within(t)
	done := make(chan result, 1)
	go func() {
		mails, err := box.Wait(ctx, "A@example.com", 2)
		done <- result{mails, err}
	}()
	send(t, box, []string{"a@example.com"}, "Subject: first\n\nx\n")
	send(t, box, []string{"other@example.com"}, "Subject: other\n\nx\n")
	send(t, box, []string{"a@example.com"}, "Subject: second\n\nx\n")
	got := <-done
	require.NoError(t, got.err)
	require.Equal(t, []string{"second", "first"}, subjects(got.mails))

	ended, cancel := context.WithCancel(ctx)
	cancel()
	mails, err := box.Wait(ended, "a@example.com", 3)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "waited for 3 mails, 2 came")
	require.NotContains(t, err.Error(), "example.com")
	require.Len(t, mails, 2)
}

// freeAddr returns an address that no process listens on at the moment.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func subjects(mails []inbox.Message) []string {
	var s []string
	for _, m := range mails {
		s = append(s, m.Subject)
	}
	return s
}
