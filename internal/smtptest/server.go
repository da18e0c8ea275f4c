// Package smtptest is an SMTP server for tests that misbehaves on request:
// refuses, delays, hangs or cuts the connection at a chosen step of the
// dialogue, and records every mail that reached its final dot.
//
// It owns the faults a mail client must survive, on a real socket. It is no
// mail server: it checks the order of commands, but no addresses, sizes or
// line lengths, and relays nothing. Only tests import it.
//
//	srv := smtptest.Start(t, smtptest.Options{})
//	srv.Script(smtptest.At(smtptest.Rcpt).Reply(450).Times(2))
//	… send to srv.Addr() …
//	mails, err := srv.WaitReceived(ctx, 1)
package smtptest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"
	"testing"
)

// TLSMode says how the server offers TLS.
type TLSMode int

// The zero value offers none.
const (
	NoTLS       TLSMode = iota
	StartTLS            // advertised after EHLO; a client may go on without it
	ImplicitTLS         // from the first byte (RFC 8314)
)

// Options of a server; the zero value accepts every mail in the clear.
type Options struct {
	// Addr is host:port; empty means 127.0.0.1 and a free port. Give the Addr of
	// a closed server to come back on the same port.
	Addr string
	// TLS with a certificate made at the start; clients trust it by CertPool.
	TLS TLSMode
	// Username and Password make AUTH (PLAIN or LOGIN) with exactly these
	// mandatory before MAIL. Without a Username AUTH is offered, not needed,
	// and accepts anything.
	Username, Password string
}

// Server is one running server. All methods may be called from any goroutine.
type Server struct {
	opts     Options
	listener net.Listener
	tls      *tls.Config
	pool     *x509.CertPool

	stopped context.Context // ends with Close: delays and hangs end, too
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	script  []*Rule
	conns   map[net.Conn]struct{}
	reached map[Verb]int
	mails   []*Message
	changed chan struct{}
}

// Start starts a server that is closed with the test; a failure fails the test.
func Start(tb testing.TB, opts Options) *Server {
	tb.Helper()
	s, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// New starts a server that runs until Close. It fails when the address is taken.
func New(opts Options) (*Server, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	s := &Server{
		opts:    opts,
		conns:   map[net.Conn]struct{}{},
		reached: map[Verb]int{},
		changed: make(chan struct{}),
	}
	var err error
	if opts.TLS != NoTLS {
		if s.tls, s.pool, err = selfSigned(); err != nil {
			return nil, fmt.Errorf("smtptest: cannot make a certificate: %w", err)
		}
	}
	if s.listener, err = net.Listen("tcp", opts.Addr); err != nil {
		return nil, fmt.Errorf("smtptest: cannot listen on %s: %w", opts.Addr, err)
	}
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// Close cuts every connection, ends delays and hangs, frees the port and waits
// for all of it. Calling it again is harmless. What was received stays readable.
func (s *Server) Close() {
	s.stop()
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Addr is the host:port the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Host is the bound IP address.
func (s *Server) Host() string { return s.listener.Addr().(*net.TCPAddr).IP.String() }

// Port is the bound port.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// CertPool holds the server's certificate, valid for localhost, 127.0.0.1 and
// ::1; nil without TLS.
func (s *Server) CertPool() *x509.CertPool { return s.pool }

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed; a test server has no other way to lose its listener
		}
		if !s.track(conn) {
			return
		}
		s.wg.Go(func() {
			defer s.untrack(conn)
			s.serve(conn)
		})
	}
}

// track makes a connection known to Close; false when Close was faster.
func (s *Server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped.Err() != nil {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) untrack(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}
