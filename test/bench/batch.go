package main

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// batch measures a registration's mail, from the commit to the mail server's 250, while 100,000 invitations are on
// their way at the default rate, beside the same on a service without. People register at both in turn, so that both
// share every disturbance. It lasts long enough for a p99 that is no maximum.
func (b *bench) batch(ctx context.Context) error {
	without, err := b.startService(ctx)
	if err != nil {
		return err
	}
	with, err := b.startService(ctx)
	if err != nil {
		return err
	}
	return b.beside(ctx, "commit → SMTP 250, a batch of 100,000 on its way", inviteCount, without, with)
}

// beside uploads a batch of n invitations to the service with, registers people at both services in turn, and reports
// when their mails have left.
func (b *bench) beside(ctx context.Context, what string, invitations int, without, with *harness.System) error {
	admin, err := b.newAdministrator(ctx, with, "admin@example.com")
	if err != nil {
		return err
	}
	if err := admin.invite(ctx, addresses(invitations, 0), invitations); err != nil {
		return err
	}
	clients := []*harness.Client{without.Client().KeepAlive(), with.Client().KeepAlive()}
	n := int(b.lasting(40*time.Second).Seconds() * mailRate)
	for i := range everyTick(ctx, time.Second/mailRate) {
		if i == n {
			break
		}
		for k := range clients {
			if _, err := registerPerson(ctx, clients[(i+k)%2], i); err != nil {
				return err
			}
		}
	}
	left := max(0, with.Mailbox.Reached(smtptest.EndOfData)-n)
	tookWithout, errWithout := mailDelays(ctx, without, n)
	tookWith, errWith := mailDelays(ctx, with, n)
	b.report.beside(besideHeader, what, tookWith, tookWithout, 0, 2.0)
	b.report.note("%s: %d mails of the batch have left meanwhile.", what, left)
	return errors.Join(errWithout, errWith)
}
