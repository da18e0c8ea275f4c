package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	netsmtp "net/smtp"
	"strconv"

	gomail "github.com/wneessen/go-mail"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/pkg/mailer"
)

const (
	smtpWorkers = 8  // as many as a consumer has for codes
	smtpMails   = 80 // each time
	smtpUser    = "bench"
	smtpFrom    = "bench@example.com"
	smtpTo      = "someone@example.com"
)

// farServer is a mail server 50 ms away, with STARTTLS and AUTH.
type farServer struct {
	host, port string
	tls        *tls.Config
	server     *smtptest.Server
	stop       func()
}

func newFarServer(pipelining bool) (*farServer, error) {
	server, err := smtptest.New(smtptest.Options{
		TLS:        smtptest.StartTLS,
		Pipelining: pipelining,
		Username:   smtpUser,
		Password:   smtpUser,
	})
	if err != nil {
		return nil, err
	}
	host, port, stop, err := farLine(server.Addr())
	return &farServer{
		host:   host,
		port:   port,
		tls:    &tls.Config{RootCAs: server.CertPool(), ServerName: "example.com", MinVersion: tls.VersionTLS12},
		server: server,
		stop:   func() { stop(); server.Close() },
	}, err
}

// smtp measures the mailer through a server 50 ms away, beside a library that connects for every mail, and beside a bare loop
// that keeps one connection for each worker. Connections that are kept are open before anything is timed.
func (b *bench) smtp(ctx context.Context) error {
	for _, row := range []struct {
		what       string
		pipelining bool
		aim        float64
		bare       func(s *farServer) (work func(worker int) error, err error)
	}{
		{"mails, 50 ms away, PIPELINING; bare: go-mail, a connection each", true, 5, connectEach},
		{"mails, 50 ms away, no PIPELINING; bare: go-mail, a connection each", false, 2.2, connectEach},
		{"mails, 50 ms away; bare: a loop that keeps and pipelines a connection", true, 0.85, keepOne},
	} {
		if err := b.compareMailers(ctx, row.what, row.pipelining, row.aim, row.bare); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) compareMailers(ctx context.Context, what string, pipelining bool, aim float64,
	bare func(s *farServer) (func(worker int) error, error)) error {
	server, err := newFarServer(pipelining)
	if err != nil {
		return err
	}
	defer server.stop()
	port, err := strconv.Atoi(server.port)
	if err != nil {
		return err
	}
	ours, err := mailer.New(mailer.Options{
		Host: server.host, Port: port, Username: smtpUser, Password: smtpUser, From: smtpFrom, HelloName: "example.com",
		TLS: mailer.TLSStartTLS, TLSConfig: server.tls, Connections: 2 * smtpWorkers,
	})
	if err != nil {
		return err
	}
	defer ours.Close()
	send, err := bare(server)
	if err != nil {
		return err
	}
	each := func(work func(worker int) error) side {
		return timed(func(context.Context) error {
			return inParallel(smtpWorkers, func(worker int) error {
				for range smtpMails / smtpWorkers {
					if err := work(worker); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	return b.compare(ctx, comparison{
		what: what,
		n:    smtpMails,
		aim:  aim,
		ours: each(func(int) error {
			return ours.Send(ctx, mailer.Mail{To: smtpTo, Subject: "Your code", Text: "It is 123456.", HTML: "<p>It is 123456.</p>"},
				func(context.Context) error { return nil })
		}),
		bare: each(send),
	})
}

// connectEach sends with go-mail, which connects for every mail.
func connectEach(s *farServer) (func(worker int) error, error) {
	port, err := strconv.Atoi(s.port)
	if err != nil {
		return nil, err
	}
	return func(int) error {
		client, err := gomail.NewClient(s.host, gomail.WithPort(port), gomail.WithHELO("example.com"),
			gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithTLSConfig(s.tls),
			gomail.WithSMTPAuth(gomail.SMTPAuthPlain), gomail.WithUsername(smtpUser), gomail.WithPassword(smtpUser))
		if err != nil {
			return err
		}
		mail := gomail.NewMsg()
		if err := mail.FromFormat("", smtpFrom); err != nil {
			return err
		}
		if err := mail.To(smtpTo); err != nil {
			return err
		}
		mail.Subject("Your code")
		mail.SetBodyString(gomail.TypeTextPlain, "It is 123456.")
		mail.AddAlternativeString(gomail.TypeTextHTML, "<p>It is 123456.</p>")
		return client.DialAndSend(mail)
	}, nil
}

// keepOne sends with one connection for each worker, the envelope and DATA in one write.
func keepOne(s *farServer) (func(worker int) error, error) {
	clients := make([]*netsmtp.Client, smtpWorkers)
	err := inParallel(smtpWorkers, func(i int) (err error) {
		clients[i], err = s.dial()
		return err
	})
	content := []byte("From: " + smtpFrom + "\r\nTo: " + smtpTo + "\r\nSubject: Your code\r\n\r\nIt is 123456.\r\n")
	return func(worker int) error {
		text := clients[worker].Text
		if err := text.PrintfLine("MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA", smtpFrom, smtpTo); err != nil {
			return err
		}
		for _, want := range []int{2, 2, 3} {
			if _, _, err := text.ReadResponse(want); err != nil {
				return err
			}
		}
		body := text.DotWriter()
		if _, err := body.Write(content); err != nil {
			return err
		}
		if err := body.Close(); err != nil {
			return err
		}
		_, _, err := text.ReadResponse(2)
		return err
	}, err
}

// dial returns a connection on which MAIL may be said.
func (s *farServer) dial() (*netsmtp.Client, error) {
	client, err := netsmtp.Dial(net.JoinHostPort(s.host, s.port))
	if err != nil {
		return nil, err
	}
	if err := client.Hello("example.com"); err != nil {
		return nil, err
	}
	if err := client.StartTLS(s.tls); err != nil {
		return nil, err
	}
	if err := client.Auth(netsmtp.PlainAuth("", smtpUser, smtpUser, s.host)); err != nil {
		return nil, fmt.Errorf("logging in: %w", err)
	}
	return client, nil
}
