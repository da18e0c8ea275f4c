// Package mailer delivers one mail to one recipient, and copies of it to others, over SMTP (RFC 5321) and reports
// exactly how far it came.
//
// It owns the conversation: connect, TLS, AUTH, envelope, content, the reply to the final dot, QUIT. Every failure is
// an *[Error] whose [Class] says whether the mail may be sent again, must not be, or may already be on its way.
//
// It does not promise delivery (a 250 means that the server took responsibility, not that a recipient read it), it does
// not retry, it keeps no connection between two mails, and it logs nothing. An error never carries the recipient, the
// subject, the body, a credential or a text sent by the server, because servers echo addresses.
//
// go-mail builds the message and speaks the single verbs. Its Client.Send is not used, because it reports a
// connection cut after the final dot like one cut before it, sends RSET between the 250 and its return, and cannot be
// cancelled by a context once it has dialled.
package mailer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// TLSMode says when the connection is encrypted. Certificates are always verified, versions below TLS 1.2 refused.
type TLSMode string

const (
	// TLSNone never encrypts. Credentials are then sent to a loopback address only.
	TLSNone TLSMode = "none"
	// TLSStartTLS requires STARTTLS (RFC 3207, usually port 587); a server that does not offer it gets nothing.
	TLSStartTLS TLSMode = "starttls"
	// TLSOpportunistic uses STARTTLS when it is offered. A handshake that fails is an error, never a reason to go on in
	// clear.
	TLSOpportunistic TLSMode = "opportunistic"
	// TLSImplicit encrypts from the first byte (RFC 8314, usually port 465).
	TLSImplicit TLSMode = "tls"
)

const (
	defaultTimeout     = 30 * time.Second
	defaultDialTimeout = 10 * time.Second
	// quitWait bounds the courtesy of QUIT: the outcome is known by then.
	quitWait = time.Second
)

// Options describes one SMTP server and one sender.
type Options struct {
	Host string
	Port int // 1 to 65535
	// Username turns on AUTH (PLAIN, else LOGIN) when it is not empty.
	Username, Password string
	From               string // bare ASCII address, in the envelope and in the header
	FromName           string // display name in the header, any Unicode, may be empty
	TLS                TLSMode
	// DialTimeout limits resolving and connecting; 0 means 10 s.
	DialTimeout time.Duration
	// Timeout is the total deadline of one mail, from resolving the name to the reply to the final dot; 0 means 30 s.
	// RFC 5321 §4.5.3.2 would allow ten minutes for that last reply alone: a code would have expired by then.
	Timeout time.Duration
	// HelloName is announced in EHLO; empty means the host's name. Servers that check it want a resolvable one.
	HelloName string
	// TLSConfig is optional (own root certificates, for example). It is copied; ServerName defaults to Host.
	TLSConfig *tls.Config
}

// Mail is one mail to one recipient. Every address is a bare ASCII one; an internationalised domain is in its xn--
// form.
type Mail struct {
	// MessageID without angle brackets, as in "id@example.com". Derived from what caused the mail, it lets
	// the receiving side recognise a repeat. Empty: a random one in the domain of Options.From, another for every Send.
	MessageID string
	To        string
	// Cc is optional. The mail is To's: what the server says to To decides, and a Cc that it refuses, for now or for ever,
	// is left out of the envelope without a word, though the header still names it: To must not go
	// without the mail, or wait for it, because of a Cc.
	Cc      []string
	ReplyTo string // optional
	Subject string // one line, any Unicode
	// Text and HTML say the same; one of them may be empty. A mail should have a Text: the readers and filters that
	// refuse HTML are not few.
	Text, HTML string
}

// Mailer sends mails with one set of Options. It is safe for concurrent use.
type Mailer struct {
	opts Options
	tls  *tls.Config
}

// New checks the options and connects to nothing. The error lists every problem found.
func New(opts Options) (*Mailer, error) {
	if err := errors.Join(opts.problems()...); err != nil {
		return nil, fmt.Errorf("mailer: %w", err)
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = defaultDialTimeout
	}
	if opts.HelloName == "" {
		opts.HelloName = hostName()
	}

	config := &tls.Config{}
	if opts.TLSConfig != nil {
		config = opts.TLSConfig.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = opts.Host
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	return &Mailer{opts: opts, tls: config}, nil
}

func (o Options) problems() []error {
	var found []error
	if o.Host == "" || hasControl(o.Host) {
		found = append(found, errors.New("the SMTP host is missing or not one line"))
	}
	if o.Port < 1 || o.Port > 65535 {
		found = append(found, fmt.Errorf("the SMTP port is %d, want 1 to 65535", o.Port))
	}
	switch o.TLS {
	case TLSNone, TLSStartTLS, TLSOpportunistic, TLSImplicit:
	default:
		found = append(found, fmt.Errorf("the TLS mode is %q, want one of %s, %s, %s, %s",
			o.TLS, TLSNone, TLSStartTLS, TLSOpportunistic, TLSImplicit))
	}
	if err := checkAddress(o.From); err != nil {
		found = append(found, fmt.Errorf("the sender address is unusable: %w", err))
	}
	if err := checkHeaderText(o.FromName); err != nil {
		found = append(found, fmt.Errorf("the sender name is unusable: %w", err))
	}
	if hasControl(o.HelloName) {
		found = append(found, errors.New("the EHLO name is not one line"))
	}
	if o.Timeout < 0 || o.DialTimeout < 0 {
		found = append(found, errors.New("a timeout is negative"))
	}
	return found
}

// Send delivers one mail in one transaction, on a connection of its own.
//
// accepted must not be nil. It is called once, in this goroutine, after the server's positive reply to the final dot
// and before QUIT: the place to record that the mail is out. Its context carries the values of ctx but neither its
// cancellation nor Send's deadline, since an accepted mail that is not recorded would be sent again; accepted must
// therefore bound itself. Its error is returned wrapped and is not an *Error: the mail has been accepted.
//
// Every other error is an *Error. Cancelling ctx ends Send at any moment: before the final dot the error is Temporary
// and wraps ctx.Err(), after it Ambiguous. A failure after accepted has returned (QUIT) is ignored.
func (m *Mailer) Send(ctx context.Context, mail Mail, accepted func(context.Context) error) error {
	content, err := m.build(mail)
	if err != nil {
		return err
	}

	deadline, cancel := context.WithTimeout(ctx, m.opts.Timeout)
	defer cancel()
	s, err := m.open(deadline)
	if err != nil {
		return err
	}
	defer s.close()

	if err := s.envelope(m.opts.From, mail.To, mail.Cc); err != nil {
		return err
	}
	if err := s.transfer(content); err != nil {
		return err
	}
	recordErr := accepted(context.WithoutCancel(ctx))
	s.quit()
	if recordErr != nil {
		return fmt.Errorf("mailer: the server accepted the mail, but recording that failed: %w", recordErr)
	}
	return nil
}

func (o Options) address() string { return net.JoinHostPort(o.Host, strconv.Itoa(o.Port)) }

// hostName falls back to the name that net/smtp uses: an EHLO without any name would be refused everywhere.
func hostName() string {
	if name, err := os.Hostname(); err == nil && name != "" && !hasControl(name) {
		return name
	}
	return "localhost"
}
