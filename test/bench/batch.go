package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/smap-platform/identity/internal/inbox"
)

// batchTime is long enough for a p99 that is no maximum.
const batchTime = 40 * time.Second

// sender is a service whose registrations' mails are measured.
type sender struct {
	*service
	box    *inbox.Inbox
	client *client
}

// benchBatch measures a registration's mail, from the commit to the mail server's 250, while 100,000 invitations are on
// their way at the default rate, beside the same on a service without. Both run all the time and take turns, so that they
// share every disturbance.
func benchBatch(ctx context.Context, s settings, t *tables) error {
	if s.seconds == 0 {
		s.seconds = batchTime
	}
	n := int(s.seconds.Seconds() * mailRate)
	folder, removeBinaries, err := buildBinaries(ctx)
	if err != nil {
		return err
	}
	defer removeBinaries()
	var senders [2]*sender // without, with
	for i := range senders {
		box, stop, err := startInbox(inviteCount)
		if err != nil {
			return err
		}
		defer stop()
		service, err := startService(ctx, s, folder, func(e environment) error { return e.mailTo(box.SMTPAddr()) })
		defer service.close()
		if err != nil {
			return err
		}
		senders[i] = &sender{service, box, newClient(service.url)}
	}
	without, with := senders[0], senders[1]
	admin, _, err := with.administrator(ctx, "admin@example.com")
	if err != nil {
		return err
	}
	if _, _, err := admin.call(ctx, http.MethodPost, "/users/invitations", http.StatusAccepted, addresses(0), "Content-Type", "text/csv"); err != nil {
		return err
	}
	for i := range everyTick(ctx, time.Second/mailRate) {
		if i == n {
			break
		}
		for k := range senders {
			if _, err := senders[(i+k)%2].client.register(ctx, fmt.Sprintf("person%d@example.com", i)); err != nil {
				return err
			}
		}
	}
	b := beside{what: "commit → SMTP 250, a batch of 100,000 on its way", aim: 2.0}
	if b.without, err = without.took(ctx, n); err != nil {
		return err
	}
	if b.with, err = with.took(ctx, n); err != nil {
		return err
	}
	t.beside = append(t.beside, b)
	t.notes = append(t.notes, fmt.Sprintf("of the batch, %d mails have left meanwhile.", len(with.box.Messages(""))-n))
	return nil
}

// took answers from the commit to the mail, for each of n people.
func (s *sender) took(ctx context.Context, n int) (took []time.Duration, err error) {
	committed, err := commitTimes(ctx, s.service)
	if err != nil {
		return nil, err
	}
	for i := range n {
		email := fmt.Sprintf("person%d@example.com", i)
		mails, err := waitForMail(ctx, s.box, email)
		if err != nil {
			return nil, err
		}
		took = append(took, mails[0].ReceivedAt.Sub(committed[email]))
	}
	return took, nil
}
