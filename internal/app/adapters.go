package app

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	authhttp "github.com/smap-platform/identity/internal/authentication/delivery/http"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/invitation"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/project"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/database"
)

// No domain imports another. Each declares the methods it needs, and the wiring passes them in. The types below stand in
// between where the domain that has a method states it in its own terms.

// accountFinder is authentication's users as invitation sees them.
type accountFinder struct{ users *authsql.Users }

// Account implements [invitation.AccountFinder]. To invitation an account that is disabled is none: nobody is written to, and
// nothing is accepted.
func (f accountFinder) Account(ctx context.Context, userID string) (invitation.Account, error) {
	u, err := f.users.ByID(ctx, userID)
	if errors.Is(err, authentication.ErrUserNotFound) || err == nil && u.Disabled() {
		return invitation.Account{}, invitation.ErrAccountNotFound
	}
	return invitation.Account{Email: u.Email, Active: u.Active}, err
}

// recipientFinder is authentication's users as subscription writes to them.
type recipientFinder struct{ users *authsql.Users }

// Recipients implements [subscription.RecipientFinder].
func (f recipientFinder) Recipients(ctx context.Context, userIDs []string) (map[string]subscription.Recipient, error) {
	users, _, err := f.users.List(ctx, authentication.UserFilter{IDs: userIDs, Limit: len(userIDs)})
	if err != nil {
		return nil, err
	}
	found := make(map[string]subscription.Recipient, len(users))
	for _, u := range users {
		if u.Admitted() {
			found[u.ID] = subscription.Recipient{Email: u.Email, Locale: cmp.Or(u.Locale, "en")}
		}
	}
	return found, nil
}

// userFinder is authentication's users as subscription sees them.
type userFinder struct{ users *authsql.Users }

// Exists implements [subscription.Users].
func (f userFinder) Exists(ctx context.Context, userID string) (bool, error) {
	_, err := f.users.ByID(ctx, userID)
	if errors.Is(err, authentication.ErrUserNotFound) {
		return false, nil
	}
	return err == nil, err
}

// invitationLogin is the cookie of a login as invitation sets it.
type invitationLogin struct{ authhttp.Authentication }

// Client implements [invitationhttp.Login].
func (l invitationLogin) Client(c echo.Context) invitation.Client { return l.Authentication.Client(c) }

// SetLogin implements [invitationhttp.Login].
func (l invitationLogin) SetLogin(c echo.Context, s invitation.Session) {
	l.Cookie.SetLogin(c, s.Token, s.Lifetime)
}

// activator is authentication's Activate with invitation's errors.
type activator struct{ people *authentications.UseCase }

// Activate implements [invitation.Activator].
func (a activator) Activate(
	ctx context.Context, userID, passwordHash string, client invitation.Client,
) (invitation.Session, error) {
	from, _ := client.(authentication.Client)
	session, err := a.people.Activate(ctx, userID, passwordHash, from)
	switch {
	case errors.Is(err, authentication.ErrUserNotFound):
		err = invitation.ErrInvalid
	case errors.Is(err, authentication.ErrAlreadyVerified):
		err = invitation.ErrUsed
	}
	return invitation.Session{Token: session.Token.Value, Lifetime: session.Token.Lifetime}, err
}

// withdrawer is the outbox, with the mail ledger behind it.
type withdrawer struct{ db *database.DB }

// Withdraw implements [invitation.Outbox].
func (w withdrawer) Withdraw(ctx context.Context, batchID string, now time.Time) ([]string, error) {
	ids, err := outbox.Withdraw(ctx, w.db, batchID, now)
	if err != nil {
		return nil, err
	}
	return ids, mailsql.NewLedger(w.db).Withdraw(ctx, ids, now)
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
	p, _, err := b.reader.Progress(ctx, projectID)
	return p.Found() && p.Total > 0, p.Status.Final(), err
}

// unlessFinal returns err unless it says that the project is final.
func unlessFinal(err error) error {
	if errors.Is(err, project.ErrFinal) {
		return nil
	}
	return err
}
