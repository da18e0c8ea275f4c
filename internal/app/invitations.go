package app

import (
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/invitation"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/project"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	// inviteTx bounds the transaction of one upload.
	inviteTx = 2 * time.Minute
	// repairEvery is the time between two comparisons of batches with their projects.
	repairEvery = 15 * time.Second
)

// newInvitations returns the verbs of the api.
func (in *infra) newInvitations(
	events event.Publisher, passwords invitation.PasswordHasher, people *authentications.UseCase, p *progress,
) *invitations.UseCase {
	users := authsql.NewUsers(in.db)
	return invitations.New(invitations.Deps{
		Tx:            in.db,
		LongTx:        in.db.WithTxTimeout(inviteTx),
		Batches:       invitationsql.NewBatches(in.db),
		Invitations:   invitationsql.NewInvitations(in.db),
		Pace:          invitationsql.NewPace(in.db),
		Accounts:      authentications.NewInvited(users),
		Finder:        accountFinder{users},
		Activator:     activator{people},
		Passwords:     passwords,
		Events:        events,
		Outbox:        withdrawer{in.db},
		Progress:      batchProgress{p.count, p.store},
		Clock:         in.clock,
		TokenKey:      invitation.TokenKey(in.cfg.Secrets.CodeHMAC),
		PerSecond:     in.cfg.Invitations.PerSecond,
		ParseEmail:    authentication.ParseEmail,
		CheckPassword: authentication.CheckPassword,
	})
}

// newInvitationMail returns what sends the mails of invitations.
func (in *infra) newInvitationMail(mailer invitations.Mailer) *invitations.MailSender {
	return invitations.NewMailSender(invitations.MailSenderDeps{
		Invitations: invitationsql.NewInvitations(in.db),
		Accounts:    accountFinder{authsql.NewUsers(in.db)},
		Mailer:      mailer,
	})
}

// newBatchCloser returns what closes the batches among completed projects.
func (in *infra) newBatchCloser(events event.Publisher) project.CompletionListener {
	return batchCloser{invitations.NewCloser(invitations.CloserDeps{
		Batches:  invitationsql.NewBatches(in.db),
		Accounts: accountFinder{authsql.NewUsers(in.db)},
		Events:   events,
	})}
}

// newRepairer returns what brings the progress of batches in line with the database.
func (in *infra) newRepairer(p *progress) *invitations.Repairer {
	return invitations.NewRepairer(invitations.RepairerDeps{
		Batches:     invitationsql.NewBatches(in.db),
		Invitations: invitationsql.NewInvitations(in.db),
		Mails:       mailOutcomes{mailsql.NewLedger(in.db)},
		Progress:    batchProgress{p.count, p.store},
		Clock:       in.clock,
		Every:       repairEvery,
		Failed:      in.logRepairFailure,
	})
}

// newInvitationPurger returns what deletes expired invitations and old batches.
func (in *infra) newInvitationPurger() *invitations.Purger {
	return invitations.NewPurger(invitations.PurgerDeps{
		Invitations: invitationsql.NewInvitations(in.db),
		Accounts:    authentications.NewInvited(authsql.NewUsers(in.db)),
	})
}

// accountFinder is authentication's users as invitation sees them.
type accountFinder struct{ users *authsql.Users }

// Account implements [invitation.AccountFinder].
func (f accountFinder) Account(ctx context.Context, userID string) (invitation.Account, error) {
	u, err := f.users.ByID(ctx, userID)
	if errors.Is(err, authentication.ErrUserNotFound) {
		err = invitation.ErrAccountNotFound
	}
	return invitation.Account{Email: u.Email, Active: u.Active, Admin: u.Role == authentication.RoleAdmin}, err
}

// activator is authentication's Activate with invitation's errors.
type activator struct{ people *authentications.UseCase }

// Activate implements [invitation.Activator].
func (a activator) Activate(ctx context.Context, userID, passwordHash string) (invitation.Session, error) {
	session, err := a.people.Activate(ctx, userID, passwordHash)
	switch {
	case errors.Is(err, authentication.ErrUserNotFound):
		err = invitation.ErrInvalid
	case errors.Is(err, authentication.ErrAlreadyVerified):
		err = invitation.ErrUsed
	}
	return invitation.Session{Token: session.Token.Value, Lifetime: session.Token.Lifetime}, err
}

// withdrawer is the outbox.
type withdrawer struct{ db *database.DB }

// Withdraw implements [invitation.Outbox].
func (w withdrawer) Withdraw(ctx context.Context, batchID string, now time.Time) ([]string, error) {
	return outbox.Withdraw(ctx, w.db, batchID, now)
}

// mailOutcomes is the mail ledger.
type mailOutcomes struct{ ledger *mailsql.Ledger }

// Outcomes implements [invitation.MailLedger].
func (o mailOutcomes) Outcomes(ctx context.Context, eventIDs []string) (map[string]bool, error) {
	states, err := o.ledger.Outcomes(ctx, eventIDs)
	if err != nil {
		return nil, err
	}
	sent := make(map[string]bool, len(states))
	for id, state := range states {
		sent[id] = state == notification.StateAccepted
	}
	return sent, nil
}

// batchCloser closes the batch behind a project.
type batchCloser struct{ batches *invitations.Closer }

// ProjectCompleted implements [project.CompletionListener].
func (c batchCloser) ProjectCompleted(ctx context.Context, done project.Completion) error {
	return c.batches.Close(ctx, invitation.Completion{
		ProjectID:   done.ProjectID,
		Total:       done.Total,
		Done:        done.Done,
		Errors:      done.Errors,
		CompletedAt: done.CompletedAt,
	})
}

// batchProgress counts invitations in projects. It implements [invitation.Progress].
type batchProgress struct {
	counting *projects.Counting
	reader   project.ProgressReader
}

func (b batchProgress) Begin(ctx context.Context, projectID, owner string) error {
	_, err := b.counting.Init(ctx, projectID, owner, 0)
	return unlessFinal(err)
}

func (b batchProgress) Forget(ctx context.Context, projectID string) error {
	return b.counting.Forget(ctx, projectID)
}

// Open draws the finish line at once: the total of a batch is final from the start.
func (b batchProgress) Open(ctx context.Context, projectID, owner string, total int64) error {
	if _, err := b.counting.Init(ctx, projectID, owner, total); err != nil {
		return unlessFinal(err)
	}
	_, err := b.counting.SetTotal(ctx, projectID, total, true)
	return unlessFinal(err)
}

func (b batchProgress) Mark(ctx context.Context, projectID string, items []invitation.Item) error {
	converted := make([]project.Item, len(items))
	for i, item := range items {
		converted[i] = project.Item(item)
	}
	_, err := b.counting.Mark(ctx, projectID, converted)
	if errors.Is(err, project.ErrNotFound) {
		return nil
	}
	return unlessFinal(err)
}

// State takes a project without a total for none: the process that began it died before the commit.
func (b batchProgress) State(ctx context.Context, projectID string) (found, final bool, err error) {
	p, err := b.reader.Progress(ctx, projectID)
	return p.Found() && p.Total > 0, p.Status.Final(), err
}

// unlessFinal returns err unless it says that the project is final.
func unlessFinal(err error) error {
	if errors.Is(err, project.ErrFinal) {
		return nil
	}
	return err
}
