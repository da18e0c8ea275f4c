package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/smap-platform/identity/internal/inbox"
)

// mailRate is how many people register per second.
const mailRate = 10

// benchMail measures from the registration's transaction to the mail server's 250, through relay, broker and
// consumer, while people register at a steady pace: a slow answer does not hold back the next person.
func benchMail(ctx context.Context, s settings, t *tables) error {
	if s.seconds == 0 {
		s.seconds = 20 * time.Second
	}
	n := int(s.seconds.Seconds() * mailRate)
	folder, removeBinaries, err := buildBinaries(ctx)
	if err != nil {
		return err
	}
	defer removeBinaries()
	box, stop, err := startInbox(2 * n)
	if err != nil {
		return err
	}
	defer stop()
	service, err := startService(ctx, s, folder, func(e environment) error { return e.mailTo(box.SMTPAddr()) })
	defer service.close()
	if err != nil {
		return err
	}
	answers, err := registerSteadily(ctx, newClient(service.url), n)
	if err != nil {
		return err
	}
	committed, err := commitTimes(ctx, service)
	if err != nil {
		return err
	}
	var took []time.Duration
	for email, at := range committed {
		mails, err := waitForMail(ctx, box, email)
		if err != nil {
			return err
		}
		took = append(took, mails[0].ReceivedAt.Sub(at))
	}
	if len(took) != n || len(box.Messages("")) != n {
		return fmt.Errorf("%d registrations, %d codes, %d mails", n, len(took), len(box.Messages("")))
	}
	t.latencies = append(t.latencies,
		latency{"commit → SMTP 250, 10 registrations/s", took, map[float64]time.Duration{0.5: 20 * time.Millisecond, 0.95: 50 * time.Millisecond}},
		latency{"answer to the registration itself", answers, nil})
	return nil
}

func startInbox(capacity int) (*inbox.Inbox, func(), error) {
	box := inbox.New(inbox.Options{SMTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Capacity: capacity})
	if err := box.Listen(); err != nil {
		return nil, nil, err
	}
	return box, inBackground(box.Run), nil
}

func (e environment) mailTo(address string) error {
	host, port, err := net.SplitHostPort(address)
	e["SMTP_HOST"], e["SMTP_PORT"] = host, port
	return err
}

func waitForMail(ctx context.Context, box *inbox.Inbox, to string) ([]inbox.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	mails, err := box.Wait(ctx, to, 1)
	if err != nil {
		return nil, fmt.Errorf("a mail has not come: %w", err)
	}
	return mails, nil
}

// registerSteadily registers n people at mailRate and answers how long each answer took.
func registerSteadily(ctx context.Context, c *client, n int) ([]time.Duration, error) {
	answers, errs := make([]time.Duration, n), make([]error, n)
	tick := time.NewTicker(time.Second / mailRate)
	defer tick.Stop()
	var running sync.WaitGroup
	for i := range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		running.Go(func() { answers[i], errs[i] = c.register(ctx, fmt.Sprintf("person%d@example.com", i)) })
	}
	running.Wait()
	return answers, errors.Join(errs...)
}

// commitTimes answers per address when its code was made: after the password was hashed, as the transaction that
// stores user, code and outbox row begins.
func commitTimes(ctx context.Context, s *service) (map[string]time.Time, error) {
	rows, err := s.db.Conn(ctx).QueryContext(ctx,
		"SELECT u.username, c.created_at FROM verification_codes c JOIN users u ON u.id = c.user_id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	times := map[string]time.Time{}
	for rows.Next() {
		var email string
		var at time.Time
		if err := rows.Scan(&email, &at); err != nil {
			return nil, err
		}
		times[email] = at
	}
	return times, rows.Err()
}
