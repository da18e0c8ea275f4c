package main

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-message/mail"

	"github.com/smap-platform/identity/internal/smtptest"
)

// attempt is a mail that came up to its final dot.
type attempt struct {
	at       time.Time
	accepted bool   // the server has responded 250
	id       string // its Message-ID
}

// mailServer remembers of every mail who got it when, and of the first accepted one the code in it.
type mailServer struct {
	*smtptest.Server

	mu    sync.Mutex
	mails map[string][]attempt     // by recipient
	codes map[string]string        // by recipient
	seen  map[string]chan struct{} // by recipient; closed with the first accepted mail
	total int
}

func newMailServer() (m *mailServer, err error) {
	m = &mailServer{mails: map[string][]attempt{}, codes: map[string]string{}, seen: map[string]chan struct{}{}}
	m.Server, err = smtptest.New(smtptest.Options{Settled: m.settled})
	if err == nil {
		m.script()
	}
	return m, err
}

func (m *mailServer) settled(mail smtptest.Message) {
	if len(mail.To) == 0 || mail.Refused {
		return
	}
	to := strings.ToLower(mail.To[0])
	code := ""
	if mail.Accepted {
		code = codeIn(mail.Data)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total++
	m.mails[to] = append(m.mails[to], attempt{mail.ReceivedAt, mail.Accepted, mail.MessageID})
	if mail.Accepted {
		m.codes[to] = code
		if seen := m.waiter(to); !closed(seen) {
			close(seen)
		}
	}
}

// waiter returns the channel that is closed with the first accepted mail; the caller holds mu.
func (m *mailServer) waiter(to string) chan struct{} {
	if m.seen[to] == nil {
		m.seen[to] = make(chan struct{})
	}
	return m.seen[to]
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// code waits for the first accepted mail to an address and returns its code; empty when ctx ends first.
func (m *mailServer) code(ctx context.Context, to string) string {
	m.mu.Lock()
	seen := m.waiter(to)
	m.mu.Unlock()
	select {
	case <-seen:
	case <-ctx.Done():
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.codes[to]
}

// attempts returns the mails to an address, oldest first.
func (m *mailServer) attempts(to string) []attempt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mails[strings.ToLower(to)])
}

// delivered reports whether a mail to the address was accepted.
func (m *mailServer) delivered(to string) bool {
	return slices.ContainsFunc(m.attempts(to), func(a attempt) bool { return a.accepted })
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// codeIn returns the one-time code of a mail, empty when it has none.
func codeIn(data []byte) string {
	reader, err := mail.CreateReader(bytes.NewReader(data))
	if err != nil {
		return ""
	}
	for {
		part, err := reader.NextPart()
		if err != nil {
			return ""
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
			text, err := io.ReadAll(part.Body)
			if err != nil {
				return ""
			}
			return sixDigits.FindString(string(text))
		}
	}
}
