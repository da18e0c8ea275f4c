package app

import (
	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
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
