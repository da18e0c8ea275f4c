package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

// recipientKey is what the mail ledger knows recipients by.
func (in *infra) recipientKey() notification.RecipientKey {
	return notification.NewRecipientKey(in.cfg.Secrets.CodeHMAC)
}

// recipientDigests are what the mail ledger knows an address by, under each key.
func recipientDigests(s config.Secrets, email string) (digests [][]byte) {
	for _, key := range codeKeys(s) {
		digests = append(digests, notification.NewRecipientKey(key).Digest(email))
	}
	return digests
}

// owing enters the mails that events ask for in the ledger, in the events' transaction.
func (in *infra) owing(next event.Publisher) event.Publisher {
	return notifications.NewOwing(notifications.OwingDeps{
		Next:       next,
		Ledger:     mailsql.NewLedger(in.db),
		Recipients: in.recipientKey(),
		Clock:      in.clock,
		Left:       in.phase().Leaves,
	})
}

// WithoutOwedMails leaves mails out of the ledger until their first try. It is for load tests, which compare.
func WithoutOwedMails() Option {
	return func(a *App) { a.owingOff = true }
}

// owedMails is what people wait for, as a health response shows it.
type owedMails struct {
	Owed          int     `json:"owed"`
	OldestSeconds float64 `json:"oldest_owed_seconds"`
}

func readOwedMails(ctx context.Context, db *database.DB, clock *database.Clock) (owedMails, error) {
	o, err := mailsql.NewLedger(db).Owed(ctx, clock.Now())
	return owedMails{o.Mails, o.Oldest.Seconds()}, err
}

var (
	mailsOwed      = prometheus.NewDesc("mails_owed", "Mails that are due and have not ended.", nil, nil)
	mailOldestOwed = prometheus.NewDesc("mail_oldest_owed_seconds",
		"How long the oldest mail that has not ended has been due; 0 when there is none.", nil, nil)
)

// mailGauges reads the ledger: every process reports the same. While the database cannot be read there is no figure.
func (in *infra) mailGauges() gauges {
	return gauges{
		[]*prometheus.Desc{mailsOwed, mailOldestOwed},
		func(ctx context.Context, set setGauge) {
			o, err := readOwedMails(ctx, in.db, in.clock)
			if err != nil {
				return
			}
			set(mailsOwed, float64(o.Owed))
			set(mailOldestOwed, o.OldestSeconds)
		},
	}
}
