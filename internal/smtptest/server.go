// Package smtptest is an SMTP server for tests that misbehaves on request: it refuses, delays, hangs or cuts the
// connection at a chosen step of the dialogue, and records every mail that reached its final dot.
//
// It owns the faults that a mail client must survive, on a real socket. It is no mail server: it checks the order of
// commands, but no addresses, sizes or line lengths, and relays nothing. Only tests import it.
//
//	srv := smtptest.Start(t, smtptest.Options{})
//	srv.Script(smtptest.At(smtptest.Rcpt).Reply(450).Times(2))
//	… send to srv.Addr() …
//	mails, err := srv.WaitReceived(ctx, 1)
package smtptest

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"
	"testing"
)

// TLSMode is how the server offers TLS.
type TLSMode int

// The modes. The zero value offers no TLS.
const (
	NoTLS       TLSMode = iota
	StartTLS            // advertised after EHLO; a client may go on without it
	ImplicitTLS         // from the first byte (RFC 8314)
)

// Options of a server; the zero value accepts every mail in the clear.
type Options struct {
	// Addr is host:port; empty means 127.0.0.1 and a free port. Use the Addr of a closed server to restart on its port.
	Addr string
	// TLS uses a test certificate, which clients trust by CertPool.
	TLS TLSMode
	// Pipelining offers PIPELINING (RFC 2920). Commands that come together are read one by one in any case.
	Pipelining bool
	// Auth is the mechanisms that are offered, of PLAIN, LOGIN and CRAM-MD5; empty means "PLAIN LOGIN".
	Auth string
	// Username and Password make AUTH with exactly these mandatory before MAIL. Without a Username AUTH
	// is optional and accepts anything.
	Username, Password string
	// Settled is called with every mail that came up to its final dot, once its reply was given or it is certain that none
	// will be. The server then forgets the mail: Received never has it. nil keeps every mail.
	Settled func(Message)
}

// Server is one running server. It is safe for concurrent use.
type Server struct {
	opts     Options
	listener net.Listener
	tls      *tls.Config
	pool     *x509.CertPool

	stopped context.Context // ends with Close, which ends delays and hangs
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	script  []*Rule
	conns   map[net.Conn]struct{}
	reached map[Verb]int
	mails   []*Message
	changed chan struct{}
}

// Start returns a server that is closed with the test. A failure fails the test.
func Start(tb testing.TB, opts Options) *Server {
	tb.Helper()
	s, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// New returns a server that runs until Close. It fails when the address is in use.
func New(opts Options) (*Server, error) {
	s := &Server{
		opts:    opts,
		conns:   map[net.Conn]struct{}{},
		reached: map[Verb]int{},
		changed: make(chan struct{}),
	}
	if opts.TLS != NoTLS {
		s.tls, s.pool = testCertificate()
	}
	var err error
	if s.listener, err = net.Listen("tcp", cmp.Or(opts.Addr, "127.0.0.1:0")); err != nil {
		return nil, fmt.Errorf("smtptest: cannot listen on %s: %w", opts.Addr, err)
	}
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// Close cuts every connection, ends delays and hangs, frees the port and waits for all of it. Calling it again is
// harmless. What was received stays readable.
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

// Addr returns the host:port that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Host returns the bound IP address.
func (s *Server) Host() string { return s.listener.Addr().(*net.TCPAddr).IP.String() }

// Port returns the bound port.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// CertPool returns a pool with the server's certificate, valid for 127.0.0.1, ::1 and example.com; nil without TLS.
func (s *Server) CertPool() *x509.CertPool { return s.pool }

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed; a test server has no other way to lose its listener
		}
		if !s.add(conn) {
			return
		}
		s.wg.Go(func() {
			defer s.remove(conn)
			s.serve(conn)
		})
	}
}

// add makes a connection known to Close. It closes it and reports false after Close.
func (s *Server) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped.Err() != nil {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) remove(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}
