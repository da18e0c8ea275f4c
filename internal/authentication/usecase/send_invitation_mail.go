package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// InvitationMailSender is the verb of the consumer that sends the mails of invitations. Safe for concurrent use.
type InvitationMailSender struct {
	invitations authentication.InvitationRepository
	users       authentication.UserRepository
	mailer      authentication.InvitationMailer
}

// NewInvitationMailSender panics when a dependency is missing.
func NewInvitationMailSender(
	invitations authentication.InvitationRepository, users authentication.UserRepository, mailer authentication.InvitationMailer,
) *InvitationMailSender {
	if invitations == nil || users == nil || mailer == nil {
		panic("authentication/usecase: NewInvitationMailSender needs an InvitationRepository, a UserRepository and an InvitationMailer")
	}
	return &InvitationMailSender{invitations, users, mailer}
}

// Send has the invitation of the event eventID mailed, unless nobody needs it any more: it was cancelled or purged, or its
// user is gone or has registered by himself. Then it records that and answers event.Drop. One that was accepted has arrived
// before, and is a duplicate. Whether it has expired is for the mailer to judge.
func (m *InvitationMailSender) Send(ctx context.Context, eventID string, d event.InvitationRequested) error {
	i, err := m.invitations.ByEvent(ctx, eventID)
	if err == nil && !i.AcceptedAt.IsZero() {
		return event.Drop(event.DropDuplicate)
	}
	needed := false
	if err == nil && i.CancelledAt.IsZero() {
		var user authentication.User
		user, err = m.users.ByID(ctx, i.UserID)
		needed = err == nil && !user.Active
	}
	if err != nil && !errors.Is(err, authentication.ErrInvitationNotFound) && !errors.Is(err, authentication.ErrUserNotFound) {
		return err
	}
	if !needed {
		if err := m.mailer.Supersede(ctx, eventID); err != nil {
			return err
		}
		return event.Drop(event.DropSuperseded)
	}
	return m.mailer.SendInvitation(ctx, authentication.InvitationMail{
		EventID: eventID, Recipient: d.Recipient, Token: d.Token, Locale: d.Locale, ExpiresAt: d.ExpiresAt,
	})
}
