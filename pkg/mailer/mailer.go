// Package mailer delivers one mail to one recipient, and copies of it to others, over SMTP (RFC 5321) and reports
// exactly how far it came.
//
// It owns the conversation (connect, TLS, AUTH, envelope, content, the reply to the final dot, QUIT) and the connections,
// which it keeps for the next mail. Every failure is an *[Error]: its [Class] says whether the mail may be sent again, must
// not be, or may already be on its way, and its [Party] whom the failure is about.
//
// It does not promise delivery (a 250 means that the server took responsibility, not that a recipient read it), it does
// not retry a mail of which the server has heard, and it logs nothing. An error never carries the recipient, the subject,
// the body, a credential or a text sent by the server, because servers echo addresses.
//
// go-mail builds the message and opens the conversation. Its Client.Send is not used, because it reports a connection cut
// after the final dot like one cut before it, waits for each reply before the next command, and cannot be cancelled by a
// context once it has dialled.
package mailer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
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
	defaultConnections = 16
	defaultMails       = 100
	defaultIdle        = 30 * time.Second
	// quitWait bounds the courtesy of QUIT: the outcome is known by then.
	quitWait = time.Second
)

// Options describes one SMTP server and one sender.
type Options struct {
	Host string
	Port int // 1 to 65535
	// Username turns on AUTH (PLAIN, else LOGIN, else CRAM-MD5) when it is not empty.
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
	// Connections is how many there may be at a time, 2 or more; 0 means 16. Bulk mails hold half of them at most.
	Connections int
	// MailsPerConnection is how many mails go over one connection; 0 means 100.
	MailsPerConnection int
	// Idle is how long an unused connection is kept; 0 means 30 s. RFC 5321 §4.5.3.2.7 has servers wait for five minutes,
	// but many do not.
	Idle time.Duration
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
	// Bulk says that the mail is one of many. It leaves half of the connections to others, and waits for them.
	Bulk bool
}

// Mailer sends mails with one set of Options. It is safe for concurrent use, and closed by [Mailer.Close].
type Mailer struct {
	opts Options
	tls  *tls.Config
	pool *pool
}

// New checks the options and connects to nothing. The error lists every problem found.
func New(opts Options) (*Mailer, error) {
	if err := errors.Join(opts.problems()...); err != nil {
		return nil, fmt.Errorf("mailer: %w", err)
	}
	opts.Timeout = cmp.Or(opts.Timeout, defaultTimeout)
	opts.DialTimeout = cmp.Or(opts.DialTimeout, defaultDialTimeout)
	opts.Connections = cmp.Or(opts.Connections, defaultConnections)
	opts.MailsPerConnection = cmp.Or(opts.MailsPerConnection, defaultMails)
	opts.Idle = cmp.Or(opts.Idle, defaultIdle)
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
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	return &Mailer{opts: opts, tls: config, pool: newPool(opts.Connections)}, nil
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
	if o.Timeout < 0 || o.DialTimeout < 0 || o.Idle < 0 {
		found = append(found, errors.New("a timeout is negative"))
	}
	if o.Connections < 0 || o.Connections == 1 || o.MailsPerConnection < 0 {
		found = append(found, errors.New("there must be 2 connections or more, for 1 mail or more each"))
	}
	return found
}

// Send delivers one mail in one transaction, on a connection of its own or on one that has delivered others. A connection
// that ended while it was idle is replaced, once for a mail.
//
// accepted must not be nil. It is called once, in this goroutine, after the server's positive reply to the final dot
// and before anything else happens on the connection: the place to record that the mail is out. Its context carries the
// values of ctx but neither its cancellation nor Send's deadline, since an accepted mail that is not recorded would be
// sent again; accepted must therefore bound itself. Its error is returned wrapped and is not an *Error: the mail has been
// accepted.
//
// Every other error is an *Error. Cancelling ctx ends Send at any moment: before the final dot the error is Temporary
// and wraps ctx.Err(), after it Ambiguous. Send waits for a connection for Options.Timeout at most, and then has as long
// again for the mail.
func (m *Mailer) Send(ctx context.Context, mail Mail, accepted func(context.Context) error) error {
	content, err := m.build(mail)
	if err != nil {
		return err
	}
	s, err := m.deliver(ctx, mail, content)
	if err != nil {
		return err
	}
	defer m.leave(s, mail.Bulk) // accepted may panic
	if recordErr := accepted(context.WithoutCancel(ctx)); recordErr != nil {
		return fmt.Errorf("mailer: the server accepted the mail, but recording that failed: %w", recordErr)
	}
	return nil
}

// Close ends the idle connections, with a QUIT that waits for a second at most, and each of the others after its mail.
// Mails can still be sent, on connections that are not kept.
func (m *Mailer) Close() {
	var ending sync.WaitGroup
	for _, s := range m.pool.close() {
		ending.Go(s.quit)
	}
	ending.Wait()
}

// deliver returns the session on which the server has accepted the mail. It holds its place in the pool.
func (m *Mailer) deliver(ctx context.Context, mail Mail, content []byte) (*session, error) {
	s, err := m.enter(ctx, mail.Bulk)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.Timeout)
	defer cancel()
	for {
		reused := s != nil
		failed := m.attempt(ctx, &s, mail, content)
		switch {
		case failed == nil:
			return s, nil
		case reused && ctx.Err() == nil && failed.Of == Us && failed.Class == Temporary:
			// The server has not heard of this mail's recipient. Connections that were idle for as long may be as dead.
			s.quit()
			m.pool.drop(s.idleSince)
			s = nil
			continue
		case !reused && failed.Of == Us && failed.Code/100 == 4 && m.pool.crowded():
			// The server takes no more connections, and others are open: one of those will do.
			s.quit()
			m.pool.leave(nil, mail.Bulk)
			if s, err = m.enter(ctx, mail.Bulk); err != nil {
				return nil, err
			}
			continue
		}
		if failed.Of == Us {
			s.quit()
			s = nil
		}
		m.leave(s, mail.Bulk)
		return nil, failed
	}
}

// enter waits for a place in the pool, and for an idle connection when there is one.
func (m *Mailer) enter(ctx context.Context, bulk bool) (*session, error) {
	waiting, cancel := context.WithTimeout(ctx, m.opts.Timeout)
	defer cancel()
	s, err := m.pool.enter(waiting, bulk)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return nil, newError(ctx, verbConnect, err)
	default:
		return nil, &Error{Class: Temporary, Verb: verbConnect, cause: errBusy} // about no server, and so not about us
	}
}

const errBusy = localError("every connection is busy; look at what delays the server, or allow more connections")

// attempt sends the mail on *s, which it opens when it is nil. It leaves *s nil when there is no connection.
func (m *Mailer) attempt(ctx context.Context, s **session, mail Mail, content []byte) (failed *Error) {
	if *s == nil {
		if *s, failed = m.open(ctx); failed != nil {
			return failed
		}
	} else {
		(*s).begin(ctx)
	}
	defer (*s).end()
	if failed := (*s).envelope(m.opts.From, mail.To, mail.Cc); failed != nil {
		return failed
	}
	return (*s).transfer(content)
}

// leave gives the place in the pool back, and the session where it may carry another mail.
func (m *Mailer) leave(s *session, bulk bool) {
	if s != nil && (s.broken || s.mails >= m.opts.MailsPerConnection) {
		s.quit()
		s = nil
	}
	if s == nil {
		m.pool.leave(nil, bulk)
		return
	}
	s.idleSince = time.Now()
	s.expiry = time.AfterFunc(m.opts.Idle, func() {
		if m.pool.remove(s) {
			s.quit()
		}
	})
	if !m.pool.leave(s, bulk) {
		s.quit()
	}
}

func (o Options) address() string { return net.JoinHostPort(o.Host, strconv.Itoa(o.Port)) }

// hostName falls back to the name that net/smtp uses: an EHLO without any name would be refused everywhere.
func hostName() string {
	if name, err := os.Hostname(); err == nil && name != "" && !hasControl(name) {
		return name
	}
	return "localhost"
}
