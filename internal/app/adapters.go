package app

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/authentication"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/fanout"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	"github.com/smap-platform/identity/internal/project"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/logger"
)

// No domain imports another. Each declares the methods it needs, and these types bring them, where the one that has
// them speaks in other words.

// loggedMails lets authentication ask notification for mails.
type loggedMails struct {
	sender *notifications.Sender
	log    zerolog.Logger
}

// SendVerification implements authentication.CodeMailer.
func (m loggedMails) SendVerification(ctx context.Context, mail authentication.CodeMail) error {
	err := m.sender.SendVerification(ctx, mail.EventID, event.VerificationRequested{
		Recipient: mail.Recipient, OTPCode: mail.Code, Locale: mail.Locale, ExpiresAt: mail.ExpiresAt,
	})
	m.logAccepted(ctx, mail.EventID, mail.Recipient, err)
	return err
}

// SendInvitation implements authentication.InvitationMailer.
func (m loggedMails) SendInvitation(ctx context.Context, mail authentication.InvitationMail) error {
	err := m.sender.SendInvitation(ctx, mail.EventID, event.InvitationRequested{
		Recipient: mail.Recipient, Token: mail.Token, Locale: mail.Locale, ExpiresAt: mail.ExpiresAt,
	})
	m.logAccepted(ctx, mail.EventID, mail.Recipient, err)
	return err
}

// Supersede implements both.
func (m loggedMails) Supersede(ctx context.Context, eventID string) error {
	return m.sender.Supersede(ctx, eventID)
}

// Forward implements fanout.Forwarder.
func (m loggedMails) Forward(ctx context.Context, c fanout.Copy) error {
	err := m.sender.Forward(ctx, notifications.Forwarded{
		EventID: c.EventID, Recipient: c.Recipient, Cc: c.CcAddresses, ReplyTo: c.ReplyTo, Subject: c.Subject, HTML: c.Body,
		ExpiresAt: c.ExpiresAt,
	})
	m.logAccepted(ctx, c.EventID, c.Recipient, err)
	return err
}

func (m loggedMails) logAccepted(ctx context.Context, eventID, recipient string, err error) {
	if err == nil {
		log := logger.WithTrace(ctx, m.log)
		log.Info().Str("event_id", eventID).Str("to", logger.MaskEmail(recipient)).Msg("mail accepted by the server")
	}
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

// mailOutcomes lets authentication ask what became of mails.
type mailOutcomes struct{ ledger *mailsql.Ledger }

// Outcomes implements authentication.MailOutcomes.
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

// batchCloser lets authentication hear of completed projects: some are batches of invitations.
type batchCloser struct{ batches *authentications.BatchCloser }

// ProjectCompleted implements project.CompletionListener.
func (c batchCloser) ProjectCompleted(ctx context.Context, done project.Completion) error {
	return c.batches.ProjectCompleted(ctx, authentications.CompletedProject{
		ProjectID: done.ProjectID, Total: done.Total, Done: done.Done, Errors: done.Errors, CompletedAt: done.CompletedAt,
	})
}

// batchProgress lets authentication count its invitations as the items of a project. A project that is final already is
// as good as changed.
type batchProgress struct {
	counting *projects.Counting
	reader   project.ProgressReader
}

// Begin implements authentication.ProgressTracker.
func (p batchProgress) Begin(ctx context.Context, projectID, owner string) error {
	_, err := p.counting.Init(ctx, projectID, owner, 0)
	return unlessFinal(err)
}

// Forget implements authentication.ProgressTracker.
func (p batchProgress) Forget(ctx context.Context, projectID string) error {
	return p.counting.Forget(ctx, projectID)
}

// Open implements authentication.ProgressTracker. The total of a batch is final from the start.
func (p batchProgress) Open(ctx context.Context, projectID, owner string, total int64) error {
	if _, err := p.counting.Init(ctx, projectID, owner, total); err != nil {
		return unlessFinal(err)
	}
	_, err := p.counting.SetTotal(ctx, projectID, total, true)
	return unlessFinal(err)
}

// Mark implements authentication.ProgressTracker.
func (p batchProgress) Mark(ctx context.Context, projectID string, items []authentication.TrackedItem) error {
	converted := make([]project.Item, len(items))
	for i, item := range items {
		converted[i] = project.Item(item)
	}
	_, err := p.counting.Mark(ctx, projectID, converted)
	if errors.Is(err, project.ErrNotFound) {
		return nil
	}
	return unlessFinal(err)
}

// State implements authentication.ProgressTracker. A project without a total was begun by a process that has died since.
func (p batchProgress) State(ctx context.Context, projectID string) (found, final bool, err error) {
	progress, err := p.reader.Progress(ctx, projectID)
	return progress.Found() && progress.Total > 0, progress.Status.Final(), err
}

func unlessFinal(err error) error {
	if errors.Is(err, project.ErrFinal) {
		return nil
	}
	return err
}
