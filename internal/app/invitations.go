package app

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/notification"
	ledger "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	// inviteTimeout bounds one upload, from its first byte to the answer; its transaction is most of that.
	inviteTimeout = 3 * time.Minute
	inviteTx      = 2 * time.Minute
	// batchLife is how long a batch is remembered, and with it the answer to a repeated request.
	batchLife = 30 * 24 * time.Hour
)

func (p *parts) invitations(
	publisher event.Publisher, tracker tracker, passwords authentication.PasswordHasher,
	tokens authentication.TokenIssuer, trials authentication.TrialStarter,
) *authentications.Invitations {
	return authentications.NewInvitations(authentications.InvitationDeps{
		Tx: p.db, LongTx: p.db.WithTxTimeout(inviteTx), Users: authsql.NewUsers(p.db), Batches: authsql.NewBatches(p.db),
		Invitations: authsql.NewInvitations(p.db), Pace: authsql.NewPace(p.db), Passwords: passwords, Tokens: tokens,
		Trials: trials, Events: publisher, Outbox: withdrawer{p.db, p.clock}, Progress: tracker, Clock: p.clock,
		CodeKey: authentication.CodeKey(p.cfg.Secrets.CodeHMAC), PerSecond: p.cfg.Invitations.PerSecond,
	})
}

func (p *parts) repairer(tracker tracker) *authentications.Repairer {
	return authentications.NewRepairer(authentications.RepairDeps{
		Batches: authsql.NewBatches(p.db), Invitations: authsql.NewInvitations(p.db), Mails: outcomes{ledger.NewLedger(p.db)},
		Progress: tracker, Clock: p.clock,
		Failed: func(err error) {
			p.log.Warn().Err(err).Msg("batches of invitations cannot be compared with their progress; tried again every few seconds")
		},
	})
}

// withdrawer lets authentication take back what has not left of a batch.
type withdrawer struct {
	db    *database.DB
	clock *database.Clock
}

// Withdraw implements authentication.Withdrawer.
func (w withdrawer) Withdraw(ctx context.Context, batchID string) ([]string, error) {
	return outbox.Withdraw(ctx, w.db, batchID, w.clock.Now())
}

// outcomes lets authentication ask what became of mails.
type outcomes struct{ mails *ledger.Ledger }

// Outcomes implements authentication.MailOutcomes.
func (o outcomes) Outcomes(ctx context.Context, eventIDs []string) (map[string]bool, error) {
	states, err := o.mails.Outcomes(ctx, eventIDs)
	if err != nil {
		return nil, err
	}
	sent := make(map[string]bool, len(states))
	for id, state := range states {
		sent[id] = state == notification.StateAccepted
	}
	return sent, nil
}
