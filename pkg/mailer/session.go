package mailer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/textproto"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// session is one connection, for one mail at a time. The context of that mail bounds every step: when it ends, the
// connection is closed under whichever read or write is waiting. That one mechanism serves deadline and cancellation
// alike.
type session struct {
	ctx    context.Context
	conn   net.Conn // the TCP connection, below any TLS
	stop   func() bool
	client *smtp.Client

	pipelining bool // the server takes several commands in one write (RFC 2920)
	mails      int  // how many have been begun
	broken     bool // nothing more can be said on it
	heard      bool // the server has replied in this conversation with a mail

	idleSince time.Time
	expiry    *time.Timer // ends it when it is idle for too long
}

// open brings a connection to the point where MAIL may be sent. On error nothing is left open.
func (m *Mailer) open(ctx context.Context) (*session, *Error) {
	dialer := net.Dialer{Timeout: m.opts.DialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", m.opts.address())
	if err != nil {
		return nil, newError(ctx, verbConnect, err)
	}
	s := &session{conn: conn}
	s.begin(ctx)
	if verb, err := m.negotiate(s); err != nil {
		failed := newError(ctx, verb, err)
		s.broken = failed.Code == 0 // without a reply the two sides may disagree where they are
		s.end()
		s.quit()
		return nil, failed
	}
	s.pipelining, _ = s.client.Extension("PIPELINING")
	return s, nil
}

// begin lets ctx end what is said on the connection from now on.
func (s *session) begin(ctx context.Context) {
	s.ctx = ctx
	s.stop = context.AfterFunc(ctx, func() { _ = s.conn.Close() })
}

// end takes the connection from the context of begin.
func (s *session) end() {
	if !s.stop() {
		s.broken = true // ctx has closed it
	}
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
// not by its name. PLAIN and LOGIN are what relays have in common. CRAM-MD5 is for those that offer nothing else.
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
	case strings.Contains(mechanisms, " CRAM-MD5 "):
		return s.client.Auth(smtp.CRAMMD5Auth(m.opts.Username, m.opts.Password))
	default:
		return localError("the server offers none of AUTH PLAIN, LOGIN and CRAM-MD5; some do so only after STARTTLS")
	}
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// command is a line to the server and the first digit of the reply that lets the mail go on.
type command struct {
	verb, line string
	want       int
	copy       bool // a RCPT whose refusal does not matter
}

// envelope brings the mail to the point where its content may be sent. Only to has to be taken: the server's no to a copy
// must not cost the recipient the mail.
func (s *session) envelope(from, to string, cc []string) *Error {
	var commands []command
	if s.mails > 0 {
		commands = append(commands, command{verb: verbRSET, line: "RSET", want: 2})
	}
	commands = append(commands,
		command{verb: verbMAIL, line: "MAIL FROM:<" + from + ">", want: 2},
		command{verb: verbRCPT, line: "RCPT TO:<" + to + ">", want: 2})
	for _, address := range cc {
		commands = append(commands, command{verb: verbRCPT, line: "RCPT TO:<" + address + ">", want: 2, copy: true})
	}
	data := command{verb: verbDATA, line: "DATA", want: 3}
	reused := s.mails > 0
	s.mails++
	s.heard = !reused

	switch {
	case !s.pipelining:
		for _, c := range append(commands, data) {
			if failed := s.exchange(c); failed != nil {
				return failed
			}
		}
		return nil
	case len(cc) > 0: // a copy's refusal must not let DATA in for a mail without its recipient
		if failed := s.exchange(commands...); failed != nil {
			return failed
		}
		return s.exchange(data)
	default:
		return s.exchange(append(commands, data)...)
	}
}

// firstReply bounds the wait for the first reply on a connection that was idle: a path that has died without a word is
// left for a new one.
const firstReply = 5 * time.Second

// exchange writes the commands at once, reads every reply, and returns the first refusal that ends the mail.
func (s *session) exchange(commands ...command) (failed *Error) {
	text := s.client.Text
	for _, c := range commands {
		_, _ = text.W.WriteString(c.line + "\r\n") // bufio keeps the error for Flush
	}
	if err := text.W.Flush(); err != nil {
		return s.lost(commands[0].verb, err)
	}
	for _, c := range commands {
		if err := s.read(c); err != nil {
			if _, replied := errors.AsType[*textproto.Error](err); !replied {
				return cmp.Or(failed, s.lost(c.verb, err))
			}
			if !c.copy && failed == nil {
				failed = newError(s.ctx, c.verb, err)
			}
		} else if c.verb == verbDATA && failed != nil {
			s.broken = true // it waits for a mail that it has refused: not even a dot may follow
		}
	}
	if failed != nil && failed.Code == 421 {
		s.broken = true
	}
	return failed
}

func (s *session) read(c command) error {
	if !s.heard {
		_ = s.conn.SetReadDeadline(time.Now().Add(firstReply))
		defer func() { _ = s.conn.SetReadDeadline(time.Time{}) }()
		s.heard = true
	}
	_, _, err := s.client.Text.ReadResponse(c.want)
	return err
}

// lost is a failure after which the two sides do not agree where they are.
func (s *session) lost(verb string, err error) *Error {
	s.broken = true
	return newError(s.ctx, verb, err)
}

// transfer sends the content, and returns nil only after a positive reply to the final dot.
func (s *session) transfer(content []byte) *Error {
	data := s.client.Text.DotWriter()
	// From here on a failed write must never be followed by another verb: textproto ends an open DATA before it, and
	// the server would accept half a mail.
	if _, err := data.Write(content); err != nil {
		return s.lost(verbContent, err)
	}
	// The dot leaves in one write with the end of the content. How much of a failed write has left is not known.
	if err := data.Close(); err != nil {
		return s.lost(verbEndOfData, err)
	}
	// Any 2yz is a yes (RFC 5321 §4.3.2: act on the first digit of an unexpected code).
	_, _, err := s.client.Text.ReadResponse(2)
	if err == nil {
		return nil
	}
	failed := newError(s.ctx, verbEndOfData, err)
	s.broken = failed.Code == 0 || failed.Code == 421 || failed.Class == Ambiguous
	return failed
}

// quit ends the connection: with a QUIT, of which it does not matter whether it is heard, where both sides agree where
// they are. A nil session is none.
func (s *session) quit() {
	if s == nil {
		return
	}
	if !s.broken && s.client != nil && s.client.HasConnection() {
		_ = s.conn.SetDeadline(time.Now().Add(quitWait))
		_ = s.client.Quit()
	}
	s.close()
}

func (s *session) close() { _ = s.conn.Close() }
