// Command inbox is the development mailbox in a process of its own: SMTP in, a web page and a JSON API out, everything
// in memory. See internal/inbox.
//
// It reads HOST, the address to bind (127.0.0.1); SMTP_PORT (1025); INBOX_PORT, page and API (8025); and INBOX_HOSTS,
// names separated by commas under which page and API are asked for, apart from addresses and localhost (none). An empty
// variable counts as unset, port 0 picks a free one. SIGINT and SIGTERM stop it with exit code 0. A failure is one line
// on standard error and exit code 1.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/inbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, getenv func(string) string, stdout, stderr io.Writer) error {
	host := cmp.Or(getenv("HOST"), "127.0.0.1")
	box := inbox.New(inbox.Options{
		SMTPAddr: net.JoinHostPort(host, cmp.Or(getenv("SMTP_PORT"), "1025")),
		HTTPAddr: net.JoinHostPort(host, cmp.Or(getenv("INBOX_PORT"), "8025")),
		Hosts:    strings.Split(getenv("INBOX_HOSTS"), ","),
		Log:      zerolog.New(stderr).Level(zerolog.InfoLevel).With().Timestamp().Logger(),
	})
	if err := box.Listen(); err != nil {
		return fmt.Errorf("%w (HOST, SMTP_PORT and INBOX_PORT set the addresses)", err)
	}
	if _, err := fmt.Fprintf(stdout, "inbox: mail to smtp://%s, read it at %s\n", box.SMTPAddr(), box.URL()); err != nil {
		return err
	}
	return box.Run(ctx)
}
