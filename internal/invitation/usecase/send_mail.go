package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
)

//go:generate go tool mockgen -source=send_mail.go -destination=../mock/send_mail.go -package=mock

// Mailer sends the mails of invitations. Its errors are in the vocabulary of [event].
type Mailer interface {
	// SendInvitation sends the mail at most once per event id.
	SendInvitation(ctx context.Context, eventID string, d event.InvitationMail) error
	// Supersede records that the mail of eventID is not sent because it is of no use any more.
	Supersede(ctx context.Context, eventID string) error
}

// MailSenderDeps are the dependencies of a [MailSender]. All are required.
type MailSenderDeps struct {
	Invitations invitation.EventFinder
	Accounts    invitation.AccountFinder
	Mailer      Mailer
}

// MailSender sends the mails of invitations. It is safe for concurrent use.
type MailSender struct{ deps MailSenderDeps }

// NewMailSender returns a [MailSender].
func NewMailSender(d MailSenderDeps) *MailSender { return &MailSender{deps: d} }

// Send mails the invitation of the event eventID, unless it is of no use any more: it was cancelled or purged, or its
// account is gone or was activated another way. Then Send records that and returns event.Drop. An accepted invitation
// has arrived before and is a duplicate. Whether it has expired is for the mailer to judge.
func (m *MailSender) Send(ctx context.Context, eventID string, d event.InvitationMail) error {
	i, err := m.deps.Invitations.ByEvent(ctx, eventID)
	if err == nil && !i.AcceptedAt.IsZero() {
		return event.Drop(event.DropDuplicate)
	}
	useful := false
	if err == nil && i.CancelledAt.IsZero() {
		var account invitation.Account
		account, err = m.deps.Accounts.Account(ctx, i.UserID)
		useful = err == nil && !account.Active
	}
	if err != nil && !errors.Is(err, invitation.ErrNotFound) && !errors.Is(err, invitation.ErrAccountNotFound) {
		return err
	}
	if useful {
		return m.deps.Mailer.SendInvitation(ctx, eventID, d)
	}
	if err := m.deps.Mailer.Supersede(ctx, eventID); err != nil {
		return err
	}
	return event.Drop(event.DropSuperseded)
}
