package app

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	"github.com/smap-platform/identity/pkg/logger"
)

// No domain imports another. Each declares the methods it needs, and these types bring them, where the one that has
// them speaks in other words.

// loggedMails sends the mails of other domains and logs those that a server has accepted.
type loggedMails struct {
	sender *notifications.Sender
	log    zerolog.Logger
}

// SendVerification implements authentication's Mailer.
func (m loggedMails) SendVerification(ctx context.Context, eventID string, d event.VerificationRequested) error {
	err := m.sender.SendVerification(ctx, eventID, d)
	m.logAccepted(ctx, eventID, d.Recipient, err)
	return err
}

// SendInvitation implements invitation's Mailer.
func (m loggedMails) SendInvitation(ctx context.Context, eventID string, d event.InvitationRequested) error {
	err := m.sender.SendInvitation(ctx, eventID, d)
	m.logAccepted(ctx, eventID, d.Recipient, err)
	return err
}

// SendMail implements legacy.Mailer.
func (m loggedMails) SendMail(ctx context.Context, eventID string, mail notification.Mail, expiresAt time.Time) error {
	err := m.sender.SendMail(ctx, eventID, mail, expiresAt)
	m.logAccepted(ctx, eventID, mail.To, err)
	return err
}

// Supersede implements both.
func (m loggedMails) Supersede(ctx context.Context, eventID string) error {
	return m.sender.Supersede(ctx, eventID)
}

func (m loggedMails) logAccepted(ctx context.Context, eventID, recipient string, err error) {
	if err == nil {
		log := logger.WithTrace(ctx, m.log)
		log.Info().Str("event_id", eventID).Str("to", logger.MaskEmail(recipient)).Msg("mail accepted by the server")
	}
}
