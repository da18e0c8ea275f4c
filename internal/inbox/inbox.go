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

// defaultCapacity is enough for any demonstration, and bounds the memory.
const defaultCapacity = 1000

// stopTimeout bounds how long a stop waits for HTTP requests in flight. They only read memory, so one that takes longer
// belongs to a stalled client.
const stopTimeout = 2 * time.Second

// Options is where the inbox listens and how much it keeps. The zero Log discards.
type Options struct {
	SMTPAddr string         // host:port, port 0 picks a free one
	HTTPAddr string         // host:port, port 0 picks a free one
	Capacity int            // mails kept, counted per recipient; ≤ 0 means 1000
	Log      zerolog.Logger // one debug line per mail: id and sizes, never an address or a body
	Hosts    []string       // names a browser may use, apart from addresses and localhost ([httpserver.Hosts])
	// FramePort returns the port of the page, on the same host, that may show the inbox in a frame. nil: none may.
	FramePort func() int
}

// Inbox is one mailbox with its two listeners. Call Listen, then Run. The other methods need Listen and may be called
// from any number of goroutines.
type Inbox struct {
	opts  Options
	mails *store
	smtp  net.Listener
	http  net.Listener
}

// New returns an inbox that does not listen yet.
func New(opts Options) *Inbox {
	opts.Capacity = cmp.Or(max(opts.Capacity, 0), defaultCapacity)
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

// SMTPAddr returns the host:port of the SMTP server.
func (i *Inbox) SMTPAddr() string { return i.smtp.Addr().String() }

// SMTPPort returns the port of the SMTP server.
func (i *Inbox) SMTPPort() int { return i.smtp.Addr().(*net.TCPAddr).Port }

// HTTPPort returns the port of page and API.
func (i *Inbox) HTTPPort() int { return i.http.Addr().(*net.TCPAddr).Port }

// URL returns where a browser on this machine opens the page, without a trailing slash.
func (i *Inbox) URL() string {
	addr := *i.http.Addr().(*net.TCPAddr)
	if addr.IP.IsUnspecified() {
		addr.IP = net.IPv4(127, 0, 0, 1) // a browser cannot open "every interface"
	}
	return "http://" + addr.String()
}

// Run serves both ports until ctx ends, then closes them, cuts open SMTP sessions and returns nil. It returns an error
// when one server failed, which stops the other.
func (i *Inbox) Run(ctx context.Context) error {
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
func (i *Inbox) Messages(to string) []Message {
	found, _ := i.mails.list(to)
	return found
}

// Wait returns Messages(to) as soon as there are at least n. When ctx ends first, it returns those that have arrived
// and an error that wraps the context's. When n exceeds the capacity, it fails at once.
func (i *Inbox) Wait(ctx context.Context, to string, n int) ([]Message, error) {
	if n > i.opts.Capacity {
		return nil, fmt.Errorf("inbox: cannot wait for %d mails, the inbox keeps %d: raise Options.Capacity",
			n, i.opts.Capacity)
	}
	for {
		found, changed := i.mails.list(to)
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
