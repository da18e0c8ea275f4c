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
	admin, err := b.newAdministrator(ctx, with)
	if err != nil {
		return err
	}
	if err := admin.invite(ctx, addresses(0), inviteCount); err != nil {
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
	left := with.Mailbox.Reached(smtptest.EndOfData) - n
	tookWithout, errWithout := mailDelays(ctx, without, n)
	tookWith, errWith := mailDelays(ctx, with, n)
	b.report.beside(besideHeader, "commit → SMTP 250, a batch of 100,000 on its way", tookWith, tookWithout, 0, 2.0)
	b.report.note("of the batch, %d mails have left meanwhile.", left)
	return errors.Join(errWithout, errWith)
}
