package smtptest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/textproto"
	"strings"
	"time"
)

// Message is a mail that came completely, up to its final dot, whatever the
// server answered then.
type Message struct {
	From      string   // envelope, without angle brackets
	To        []string // accepted recipients of the envelope
	Data      []byte   // header and body as sent, CRLF line ends, dots unstuffed
	MessageID string   // of the header, without angle brackets; "" if there is none
	TLS       bool     // came over an encrypted connection
	Accepted  bool     // the server answered 250; false as long as it waits to

	ReceivedAt time.Time // when the final dot had been read, before the answer
}

// Received returns the mails so far, oldest first. A client that has its 250
// finds its mail here, Accepted.
func (s *Server) Received() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	mails := make([]Message, len(s.mails))
	for i, m := range s.mails {
		mails[i] = *m
	}
	return mails
}

// WaitReceived returns Received as soon as there are n. When ctx ends first it
// returns those that are there and an error that wraps the context's.
func (s *Server) WaitReceived(ctx context.Context, n int) ([]Message, error) {
	err := s.wait(ctx, n, "mails", func() int { return len(s.mails) })
	return s.Received(), err
}

// Connections is how many connections have reached their greeting. One that is
// closed before it, or whose implicit TLS handshake fails, is not counted.
func (s *Server) Connections() int { return s.Reached(Greeting) }

// Reached is how often a verb was reached, counted before its rule is applied.
func (s *Server) Reached(verb Verb) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached[verb]
}

// WaitReached returns when a verb has been reached n times since the start: the
// way to know that a client now hangs, waits or was cut there. When ctx ends
// first it returns an error that wraps the context's.
func (s *Server) WaitReached(ctx context.Context, verb Verb, n int) error {
	return s.wait(ctx, n, "times "+string(verb), func() int { return s.reached[verb] })
}

// wait blocks until count, called under mu, is at least n.
func (s *Server) wait(ctx context.Context, n int, what string, count func() int) error {
	for {
		s.mu.Lock()
		have, changed := count(), s.changed
		s.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("smtptest: waited for %d %s, saw %d: %w", n, what, have, ctx.Err())
		}
	}
}

// signal wakes everybody in wait; the caller holds mu.
func (s *Server) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// record stores a complete mail and takes the rule for it in one step, so that
// nobody sees a mail without its answer or an answer without its mail.
func (s *Server) record(m *Message) Rule {
	m.ReceivedAt = time.Now()
	m.MessageID = messageID(m.Data)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	rule := s.reach(EndOfData)
	m.Accepted = rule.accepts() && rule.delay == 0
	return rule
}

func (s *Server) setAccepted(m *Message, accepted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Accepted = accepted
}

// accepts tells whether the rule ends in the normal answer.
func (r Rule) accepts() bool {
	return r.code == 0 && (r.end == answer || r.end == answerAndCut)
}

func messageID(data []byte) string {
	header, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(data))).ReadMIMEHeader()
	return strings.Trim(header.Get("Message-Id"), "<> ")
}
