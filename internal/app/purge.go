package app

import (
	"context"
	"time"

	ledger "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/pkg/lifecycle"
)

// ledgerLife is how long the mail ledger remembers: long after the last retry, and long enough for a question
// "did you send it?".
const ledgerLife = 30 * 24 * time.Hour

// purging is the role that forgets old mails, once an hour. Any number of processes may do it.
func (p *parts) purging() lifecycle.Role {
	return lifecycle.Role{Name: "ledger purge", Run: func(ctx context.Context) error {
		tick := time.NewTicker(time.Hour)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				n, err := ledger.NewLedger(p.db).PurgeOlderThan(ctx, p.clock.Now().Add(-ledgerLife))
				if err != nil {
					p.log.Warn().Err(err).Msg("old mails were not forgotten; next try in an hour")
				} else if n > 0 {
					p.log.Info().Int64("mails", n).Msg("old mails forgotten")
				}
			}
		}
	}}
}
