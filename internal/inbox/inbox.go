// Package inbox is the development mailbox: an SMTP server that accepts every mail, keeps the newest ones in memory and
// shows them on a small web page, in a JSON API and to Go code.
//
// It does not promise to keep anything: nothing is stored on disk or delivered any further, and a mail beyond the
// capacity pushes the oldest one out. It authenticates no client. Anyone who reaches its ports can read every one-time
// code in it, so it binds only the addresses in its options and belongs on no production machine.
package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// Defaults of Options.
const (
	DefaultSMTPAddr = "127.0.0.1:1025"
	DefaultHTTPAddr = "127.0.0.1:8025"
	DefaultCapacity = 1000
)

// stopTimeout bounds how long a stop waits for HTTP requests in flight. They only read memory, so one that takes longer
// belongs to a stalled client.
const stopTimeout = 2 * time.Second

// Options is where the inbox listens and how much it keeps. The zero value of a field means its default; the zero Log
// discards.
type Options struct {
	SMTPAddr string         // host:port, port 0 picks a free one
	HTTPAddr string         // host:port, port 0 picks a free one
	Capacity int            // mails kept, counted per recipient; ≤ 0 means DefaultCapacity
	Log      zerolog.Logger // one debug line per mail: id and sizes, never an address or a body
}

// Inbox is one mailbox with its two listeners. Call Listen, then Run. Messages and Wait may be called at any time, from
// any number of goroutines.
type Inbox struct {
	opts  Options
	mails *store
	smtp  net.Listener
	http  net.Listener
}

// New returns an inbox that does not listen yet.
func New(opts Options) *Inbox {
	opts.SMTPAddr = cmp.Or(opts.SMTPAddr, DefaultSMTPAddr)
	opts.HTTPAddr = cmp.Or(opts.HTTPAddr, DefaultHTTPAddr)
	opts.Capacity = cmp.Or(max(opts.Capacity, 0), DefaultCapacity)
	return &Inbox{opts: opts, mails: newStore(opts.Capacity)}
}

// Listen binds both ports, or none of them, and then its error names the one that failed. Clients may connect from now
// on; Run serves them. Call Listen once.
func (i *Inbox) Listen() error {
	s, err := net.Listen("tcp", i.opts.SMTPAddr)
	if err != nil {
		return fmt.Errorf("inbox: cannot listen for SMTP on %s, choose another address or stop what holds it: %w",
			i.opts.SMTPAddr, err)
	}
	h, err := net.Listen("tcp", i.opts.HTTPAddr)
	if err != nil {
		_ = s.Close()
		return fmt.Errorf("inbox: cannot listen for HTTP on %s, choose another address or stop what holds it: %w",
			i.opts.HTTPAddr, err)
	}
	i.smtp, i.http = s, h
	return nil
}

// SMTPAddr returns the bound host:port of the SMTP server; before Listen, the configured one.
func (i *Inbox) SMTPAddr() string { return boundAddr(i.smtp, i.opts.SMTPAddr) }

// HTTPAddr returns the bound host:port of page and API; before Listen, the configured one.
func (i *Inbox) HTTPAddr() string { return boundAddr(i.http, i.opts.HTTPAddr) }

// URL returns where a browser on this machine opens the page, without a trailing slash.
func (i *Inbox) URL() string {
	host, port, err := net.SplitHostPort(i.HTTPAddr())
	if err != nil {
		return "http://" + i.HTTPAddr()
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // a browser cannot open "every interface"
	}
	return "http://" + net.JoinHostPort(host, port)
}

func boundAddr(l net.Listener, configured string) string {
	if l == nil {
		return configured
	}
	return l.Addr().String()
}

// Run serves both ports until ctx ends, then closes them, cuts open SMTP sessions and returns nil. It returns an error
// when Listen was not called, and when one server failed, which stops the other.
func (i *Inbox) Run(ctx context.Context) error {
	if i.smtp == nil || i.http == nil {
		return errors.New("inbox: Run without Listen, call Listen first")
	}
	mailServer := i.smtpServer()
	group, ctx := errgroup.WithContext(ctx)
	webServer := &http.Server{
		Handler:           i.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          log.New(i.opts.Log, "", 0),
		// Event streams end with Run.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	group.Go(func() error {
		if err := mailServer.Serve(i.smtp); err != nil && ctx.Err() == nil {
			return fmt.Errorf("inbox: SMTP server: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		if err := webServer.Serve(i.http); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("inbox: HTTP server: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop(mailServer, i.smtp, webServer)
		return nil
	})
	return group.Wait()
}

// stop closes everything. It ignores errors: the sockets are closed either way, and a server that failed has returned
// its error.
func stop(mailServer *smtp.Server, mailListener net.Listener, webServer *http.Server) {
	_ = mailServer.Close()
	_ = mailListener.Close() // Serve may not have registered it yet
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := webServer.Shutdown(ctx); err != nil {
		_ = webServer.Close()
	}
}

// Messages returns the mails to one address, newest first; all of them when to is empty. Addresses compare
// case-insensitively. The result is never nil.
func (i *Inbox) Messages(to string) []Message { return i.mails.list(to) }

// Wait returns Messages(to) as soon as there are at least n. When ctx ends first, it returns those that have arrived
// and an error that wraps the context's. When n exceeds the capacity, it fails at once.
func (i *Inbox) Wait(ctx context.Context, to string, n int) ([]Message, error) {
	if n > i.opts.Capacity {
		return nil, fmt.Errorf("inbox: cannot wait for %d mails, the inbox keeps %d: raise Options.Capacity",
			n, i.opts.Capacity)
	}
	for {
		changed := i.mails.changes() // before the mails are read, so that none is missed
		found := i.mails.list(to)
		if len(found) >= n {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return found, fmt.Errorf("inbox: waited for %d mails, %d came: %w", n, len(found), ctx.Err())
		}
	}
}
