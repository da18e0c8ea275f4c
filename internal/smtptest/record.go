package smtptest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// Message is a mail that arrived completely, up to its final dot, whatever the server replied then.
type Message struct {
	From      string   // envelope, without angle brackets
	To        []string // accepted recipients of the envelope
	Data      []byte   // header and body as sent, CRLF line ends, dots unstuffed
	MessageID string   // of the header, without angle brackets; "" if there is none
	TLS       bool     // came over an encrypted connection
	Accepted  bool     // the server replied 250; false while the reply is delayed
	Refused   bool     // the reply is a refusal: no server has such a mail

	ReceivedAt time.Time // when the final dot had been read, before the reply
}

// Received returns the mails so far, oldest first. Once a client has its 250, its mail is among them, Accepted.
func (s *Server) Received() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	mails := make([]Message, len(s.mails))
	for i, m := range s.mails {
		mails[i] = *m
	}
	return mails
}

// WaitReceived returns Received as soon as there are n mails. When ctx ends first, it returns those that have arrived
// and an error that wraps the context's.
func (s *Server) WaitReceived(ctx context.Context, n int) ([]Message, error) {
	err := s.wait(ctx, n, "mails", func() int { return len(s.mails) })
	return s.Received(), err
}

// Connections returns how many connections have reached their greeting. One that is closed before it, or whose implicit
// TLS handshake fails, is not counted.
func (s *Server) Connections() int { return s.Reached(Greeting) }

// Reached returns how often a verb was reached, counted before its rule is applied.
func (s *Server) Reached(verb Verb) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached[verb]
}

// WaitReached returns when a verb has been reached n times since the start: a client now hangs, waits or was cut there.
// When ctx ends first, it returns an error that wraps the context's.
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

// signal wakes every wait; the caller holds mu.
func (s *Server) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// record stores a complete mail and applies its rule in one step, so that a mail is never seen without its outcome.
// earlier is how many have come over its connection before.
func (s *Server) record(m *Message, earlier int) Rule {
	m.ReceivedAt = time.Now()
	m.MessageID = messageID(m.Data)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	rule := s.nextRuleLocked(EndOfData, m.To, earlier)
	m.Refused = rule.code != 0
	m.Accepted = rule.accepts() && !rule.waits()
	return rule
}

func (s *Server) setAccepted(m *Message, accepted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Accepted = accepted
}

// settle hands over a mail whose outcome will not change any more, where Options want it.
func (s *Server) settle(m *Message) {
	if s.opts.Settled == nil {
		return
	}
	s.mu.Lock()
	s.mails = slices.DeleteFunc(s.mails, func(kept *Message) bool { return kept == m })
	settled := *m
	s.mu.Unlock()
	s.opts.Settled(settled)
}

// accepts reports whether the rule ends in the normal reply.
func (r Rule) accepts() bool {
	return r.code == 0 && (r.end == answer || r.end == answerAndCut)
}

func messageID(data []byte) string {
	header, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(data))).ReadMIMEHeader()
	return strings.Trim(header.Get("Message-Id"), "<> ")
}
