package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

const (
	laneCount = 2000 // invitations; at 20 a second they outlast the row
	farDelay  = 25   // milliseconds each way
	hangTime  = 30 * time.Second
)

// lanes measures a registration's mail beside a batch twice: while the mail server is 50 ms away, and while it hangs on
// every invitation.
func (b *bench) lanes(ctx context.Context) error {
	for _, server := range []struct {
		what   string
		script []smtptest.Rule
	}{
		{"a code beside 2,000 invitations through a server 50 ms away", nil},
		{"… that also hangs 30 s on each of them", []smtptest.Rule{smtptest.At(smtptest.Rcpt).To(invited).Delay(hangTime)}},
	} {
		without, stopWithout, err := b.startFar(ctx)
		defer stopWithout()
		if err != nil {
			return err
		}
		with, stopWith, err := b.startFar(ctx)
		defer stopWith()
		if err != nil {
			return err
		}
		with.Mailbox.Script(server.script...)
		if err := b.beside(ctx, server.what, laneCount, without, with); err != nil {
			return err
		}
		if err := b.close(); err != nil {
			return err
		}
	}
	return nil
}

// invited reports whether an address is one of addresses.
func invited(to string) bool { return strings.HasPrefix(to, "person-") }

// startFar starts a service whose mail server is behind a slow line. stop ends the line; it is never nil.
func (b *bench) startFar(ctx context.Context) (s *harness.System, stop func(), err error) {
	stop = func() {}
	if s, err = b.start(ctx); err != nil {
		return s, stop, err
	}
	host, port, stop, err := farLine(s.Mailbox.Addr())
	if err != nil {
		return s, stop, err
	}
	env := slices.Concat(production, []string{"SMTP_TIMEOUT=60s", "SMTP_HOST=" + host, "SMTP_PORT=" + port})
	s.NewAPI(env...)
	s.NewConsumer(env...)
	return s, stop, s.StartAll(ctx)
}

// farLine starts a line to addr that takes farDelay each way, and returns where it begins. stop ends it; it is never nil.
func farLine(addr string) (host, port string, stop func(), err error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	line := toxiproxy.NewProxy(server, "smtp", "127.0.0.1:0", addr)
	if err := line.Start(); err != nil {
		return "", "", func() {}, err
	}
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"name":%q,"type":"latency","stream":%q,"attributes":{"latency":%d}}`, stream, stream, farDelay)
		if _, err := line.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return "", "", line.Stop, err
		}
	}
	host, port, err = net.SplitHostPort(line.Listen)
	return host, port, line.Stop, err
}
