package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-message/mail"

	"github.com/smap-platform/identity/internal/smtptest"
)

// Mailbox is the mail server of a System, in the test's own process. It accepts every mail unless Script says
// otherwise, and can be down for a while.
type Mailbox struct {
	addr string

	mu      sync.Mutex
	server  *smtptest.Server
	earlier []smtptest.Message // of the servers before this one
}

func newMailbox() (*Mailbox, error) {
	server, err := smtptest.New(smtptest.Options{})
	if err != nil {
		return nil, err
	}
	return &Mailbox{server: server, addr: server.Addr()}, nil
}

func (m *Mailbox) current() *smtptest.Server {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.server
}

// Addr is host:port.
func (m *Mailbox) Addr() string { return m.addr }

// Script makes the server misbehave; see smtptest. Without rules it behaves again.
func (m *Mailbox) Script(rules ...smtptest.Rule) { m.current().Script(rules...) }

// Reached is how often a verb has been reached since the mail server, or its last Up, started. smtptest.EndOfData
// counts the mails without reading them.
func (m *Mailbox) Reached(verb smtptest.Verb) int { return m.current().Reached(verb) }

// WaitReached waits until a verb has been reached n times since the mail server, or its last Up, started.
func (m *Mailbox) WaitReached(ctx context.Context, verb smtptest.Verb, n int) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	return m.current().WaitReached(ctx, verb, n)
}

// Down kills the server: connections are cut, new ones refused. Mails that came stay readable.
func (m *Mailbox) Down() { m.current().Close() }

// Up starts it again on the same port, without a script.
func (m *Mailbox) Up() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	server, err := smtptest.New(smtptest.Options{Addr: m.addr})
	if err != nil {
		return err
	}
	m.earlier = append(m.earlier, m.server.Received()...)
	m.server = server
	return nil
}

// Mail is one mail that came up to its final dot.
type Mail struct {
	To, MessageID, Subject, Text, HTML string

	ReceivedAt time.Time // when the final dot had been read, before the response
	Accepted   bool      // the server has responded 250
	Header     mail.Header
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// Code is the one-time code in the mail's text.
func (m Mail) Code() string { return sixDigits.FindString(m.Text) }

// All returns every mail to an address (to any when it is empty), oldest first. It includes those whose acceptance the
// server never confirmed: a real server may have delivered them.
func (m *Mailbox) All(to string) []Mail {
	m.mu.Lock()
	received := append(slices.Clone(m.earlier), m.server.Received()...)
	m.mu.Unlock()
	var mails []Mail
	for _, r := range received {
		if to == "" || slices.ContainsFunc(r.To, func(rcpt string) bool { return strings.EqualFold(rcpt, to) }) {
			mails = append(mails, parse(r))
		}
	}
	return mails
}

// Accepted returns the accepted mails to an address, oldest first.
func (m *Mailbox) Accepted(to string) []Mail {
	return slices.DeleteFunc(m.All(to), func(mail Mail) bool { return !mail.Accepted })
}

// Wait returns the accepted mails to an address as soon as there are n.
func (m *Mailbox) Wait(ctx context.Context, to string, n int) (mails []Mail, err error) {
	err = every(ctx, mailTick, func() error {
		if mails = m.Accepted(to); len(mails) < n {
			return fmt.Errorf("%d of %d mails have come", len(mails), n)
		}
		return nil
	})
	return mails, err
}

// Code waits for the first accepted mail to an address and returns the code of the newest one.
func (m *Mailbox) Code(ctx context.Context, to string) (string, error) {
	mails, err := m.Wait(ctx, to, 1)
	if err != nil {
		return "", err
	}
	code := mails[len(mails)-1].Code()
	if code == "" {
		return "", errors.New("the mail has no six-digit code")
	}
	return code, nil
}

// parse leaves empty what it cannot read.
func parse(r smtptest.Message) Mail {
	m := Mail{MessageID: r.MessageID, ReceivedAt: r.ReceivedAt, Accepted: r.Accepted}
	if len(r.To) > 0 {
		m.To = r.To[0]
	}
	reader, err := mail.CreateReader(bytes.NewReader(r.Data))
	if err != nil {
		return m
	}
	m.Header = reader.Header
	m.Subject, _ = reader.Header.Subject()
	for {
		part, err := reader.NextPart()
		if err != nil {
			return m
		}
		body, err := io.ReadAll(part.Body)
		if err != nil {
			return m
		}
		switch kind, _, _ := strings.Cut(part.Header.Get("Content-Type"), ";"); kind {
		case "text/plain":
			m.Text = string(body)
		case "text/html":
			m.HTML = string(body)
		}
	}
}
