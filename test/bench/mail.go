package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// mailRate is how many people register per second.
const mailRate = 10

// mail measures from the registration's transaction to the mail server's 250, through relay, broker and consumer, while
// people register at a steady pace: a slow response does not hold back the next person.
func (b *bench) mail(ctx context.Context) error {
	n := int(b.lasting(20*time.Second).Seconds() * mailRate)
	s, err := b.startService(ctx)
	if err != nil {
		return err
	}
	client := s.Client().KeepAlive()
	answers := make([]time.Duration, n)
	err = inParallel(n, func(i int) (err error) {
		select {
		case <-time.After(time.Duration(i) * time.Second / mailRate):
			answers[i], err = registerPerson(ctx, client, i)
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return err
	}
	took, err := mailDelays(ctx, s, n)
	if err != nil {
		return err
	}
	if mails := s.Mailbox.Reached(smtptest.EndOfData); mails != n {
		return fmt.Errorf("%d registrations, %d mails", n, mails)
	}
	b.report.latency("commit → SMTP 250, 10 registrations/s", took,
		map[float64]time.Duration{0.5: 20 * time.Millisecond, 0.95: 50 * time.Millisecond})
	b.report.latency("answer to the registration itself", answers, nil)
	return nil
}

// registerPerson registers the person with this number and returns how long that took.
func registerPerson(ctx context.Context, c *harness.Client, i int) (time.Duration, error) {
	email := fmt.Sprintf("person%d@example.com", i)
	a, err := harness.Expect(http.StatusCreated)(c.Register(ctx, email, harness.Password))
	return a.Took, err
}

// mailDelays returns how long the mails of the n registered persons took. A mail's time begins with its code, which is
// created after the password has been hashed, as the transaction begins that stores user, code and outbox row.
func mailDelays(ctx context.Context, s *harness.System, n int) (delays []time.Duration, err error) {
	err = eventually(ctx, func() error {
		delays = nil
		for _, m := range s.Mailbox.Accepted("") {
			var created time.Time
			err := s.DB.QueryRowContext(ctx, `SELECT coalesce(max(c.code_at), 'epoch') FROM code_requests c
				JOIN users u ON u.id = c.user_id WHERE u.username = $1 AND u.username LIKE 'person%'`, m.To).Scan(&created)
			if err != nil {
				return err
			}
			if created.Unix() > 0 {
				delays = append(delays, m.ReceivedAt.Sub(created))
			}
		}
		if len(delays) != n {
			return fmt.Errorf("%d persons have a mail, expected %d", len(delays), n)
		}
		return nil
	})
	return delays, err
}
