package mailer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/textproto"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// session is one connection for one mail. Its context bounds every step: when it ends, the connection is closed
// under whichever read or write is waiting. That one mechanism serves deadline and cancellation alike.
type session struct {
	ctx    context.Context
	conn   net.Conn // the TCP connection, below any TLS
	stop   func() bool
	client *smtp.Client
}

// open brings a connection to the point where MAIL may be sent. On error nothing is left open.
func (m *Mailer) open(ctx context.Context) (*session, error) {
	dialer := net.Dialer{Timeout: m.opts.DialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", m.opts.address())
	if err != nil {
		return nil, newError(ctx, verbConnect, err)
	}
	s := &session{ctx: ctx, conn: conn}
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })

	if verb, err := m.negotiate(s); err != nil {
		failed := newError(ctx, verb, err)
		s.part(failed)
		return nil, failed
	}
	return s, nil
}

// negotiate returns the verb that failed.
func (m *Mailer) negotiate(s *session) (verb string, err error) {
	stream := s.conn
	if m.opts.TLS == TLSImplicit {
		encrypted := tls.Client(s.conn, m.tls)
		if err := encrypted.HandshakeContext(s.ctx); err != nil {
			return verbTLS, err
		}
		stream = encrypted
	}
	if s.client, err = smtp.NewClient(stream, m.opts.Host); err != nil {
		return verbGreeting, err
	}
	// Only ASCII addresses come this far; asking for SMTPUTF8 would make the mail depend on every later hop having it.
	s.client.SkipSMTPUTF8(true)
	if err := s.client.Hello(m.opts.HelloName); err != nil {
		return verbEHLO, err
	}
	if err := m.startTLS(s.client); err != nil {
		return verbSTARTTLS, err
	}
	return verbAUTH, m.authenticate(s)
}

func (m *Mailer) startTLS(client *smtp.Client) error {
	if m.opts.TLS != TLSStartTLS && m.opts.TLS != TLSOpportunistic {
		return nil
	}
	if offered, _ := client.Extension("STARTTLS"); !offered {
		if m.opts.TLS == TLSOpportunistic {
			return nil
		}
		return localError("the server does not offer STARTTLS; use another port or TLS mode")
	}
	return client.StartTLS(m.tls)
}

// authenticate offers credentials only over TLS or to this very machine, judged by the address that was reached and
// not by its name. PLAIN and LOGIN are what relays have in common; challenge mechanisms add nothing under TLS.
func (m *Mailer) authenticate(s *session) error {
	if m.opts.Username == "" {
		return nil
	}
	if _, encrypted := s.client.TLSConnectionState(); !encrypted && !isLoopback(s.conn.RemoteAddr()) {
		return localError("credentials are sent only over TLS or to loopback; choose a TLS mode or remove the username")
	}
	_, offered := s.client.Extension("AUTH")
	mechanisms := " " + strings.ToUpper(offered) + " "
	switch {
	case strings.Contains(mechanisms, " PLAIN "):
		return s.client.Auth(smtp.PlainAuth("", m.opts.Username, m.opts.Password, m.opts.Host, true))
	case strings.Contains(mechanisms, " LOGIN "):
		return s.client.Auth(smtp.LoginAuth(m.opts.Username, m.opts.Password, m.opts.Host, true))
	default:
		return localError("the server offers neither AUTH PLAIN nor AUTH LOGIN; some do so only after STARTTLS")
	}
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// envelope runs MAIL and RCPT. Only to has to be taken: the server's no to a copy must not cost the recipient the mail.
func (s *session) envelope(from, to string, cc []string) error {
	if err := s.client.Mail("<" + from + ">"); err != nil {
		return s.failed(verbMAIL, err)
	}
	if err := s.client.Rcpt("<" + to + ">"); err != nil {
		return s.failed(verbRCPT, err)
	}
	for _, address := range cc {
		err := s.client.Rcpt("<" + address + ">")
		if _, refused := errors.AsType[*textproto.Error](err); err != nil && !refused {
			return s.failed(verbRCPT, err)
		}
	}
	return nil
}

// transfer runs DATA and the content, and returns nil only after a positive reply to the final dot.
func (s *session) transfer(content []byte) error {
	data, err := s.client.Data()
	if err != nil {
		return s.failed(verbDATA, err)
	}
	// From here on a failed write must never be followed by another verb: textproto ends an open DATA before it, and
	// the server would accept half a mail. An error of a write has no reply code, so part only closes.
	if _, err := data.Write(content); err != nil {
		return s.failed(verbContent, err)
	}
	// The closer of the smtp package hides whether the dot could be written. Its inner one does not: an error means
	// that the last bytes, the dot's, never left this process, so that the mail cannot have been accepted.
	if err := data.(*smtp.DataCloser).WriteCloser.Close(); err != nil {
		return s.failed(verbContent, err)
	}
	// Any 2yz is a yes (RFC 5321 §4.3.2: act on the first digit of an unexpected code).
	if _, _, err := s.client.Text.ReadResponse(2); err != nil {
		return s.failed(verbEndOfData, err)
	}
	return nil
}

func (s *session) failed(verb string, err error) error {
	failed := newError(s.ctx, verb, err)
	s.part(failed)
	return failed
}

// part ends a failed session: politely when the server replied with a code, as then both sides agree where they are.
func (s *session) part(failed *Error) {
	if failed.Code != 0 {
		s.quit()
	}
	s.close()
}

// quit says goodbye without caring whether it is heard.
func (s *session) quit() {
	if s.client == nil || !s.client.HasConnection() {
		return
	}
	_ = s.conn.SetDeadline(time.Now().Add(quitWait))
	_ = s.client.Quit()
}

// close is safe to call twice.
func (s *session) close() {
	s.stop()
	_ = s.conn.Close()
}
