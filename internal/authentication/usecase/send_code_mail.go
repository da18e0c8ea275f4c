package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// CodeMailSender is the verb of the consumer, which sends mail and needs nothing of what people do. Safe for concurrent use.
type CodeMailSender struct {
	codes  authentication.CodeRepository
	mailer authentication.CodeMailer
}

// NewCodeMailSender panics when a dependency is missing.
func NewCodeMailSender(codes authentication.CodeRepository, mailer authentication.CodeMailer) *CodeMailSender {
	if codes == nil || mailer == nil {
		panic("authentication/usecase: NewCodeMailSender needs a CodeRepository and a CodeMailer")
	}
	return &CodeMailSender{codes, mailer}
}

// Send has the code of the event eventID mailed, unless a newer code has replaced it, it has been used or its user
// is gone: then it records that and answers event.Drop. A code replaced between this look and the mail is still
// sent; it no longer verifies. Whether the code has expired is for the mailer to judge.
func (m *CodeMailSender) Send(ctx context.Context, eventID string, d event.VerificationRequested) error {
	code, err := m.codes.Find(ctx, d.UserID, authentication.PurposeVerification)
	if err != nil && !errors.Is(err, authentication.ErrCodeNotFound) {
		return err
	}
	if err != nil || !code.Current(eventID) {
		if err := m.mailer.Supersede(ctx, eventID); err != nil {
			return err
		}
		return event.Drop(event.DropSuperseded)
	}
	return m.mailer.SendVerification(ctx, authentication.CodeMail{
		EventID: eventID, Recipient: d.Recipient, Code: d.OTPCode, Locale: d.Locale, ExpiresAt: d.ExpiresAt,
	})
}
