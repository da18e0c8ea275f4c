package usecase

import (
	"context"
	"errors"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

//go:generate go tool mockgen -source=send_code_mail.go -destination=../mock/send_code_mail.go -package=mock

// Mailer sends the mails of codes. Its errors are in the vocabulary of [event].
type Mailer interface {
	// SendVerification and SendPasswordReset send the mail at most once per event id.
	SendVerification(ctx context.Context, eventID string, d event.VerificationRequested) error
	SendPasswordReset(ctx context.Context, eventID string, d event.PasswordResetRequested) error
	// Supersede records that the mail of eventID is not sent because a newer one replaced it.
	Supersede(ctx context.Context, eventID string) error
	// NeverLeft reports whether the mail of eventID has expired and no server can have had it or refused it for good.
	NeverLeft(ctx context.Context, eventID string) (bool, error)
}

// CodeMailSenderDeps are the dependencies of a [CodeMailSender]. All are required.
type CodeMailSenderDeps struct {
	Tx       authentication.Transactor
	Users    authentication.UserRepository
	Requests authentication.CodeRequestRepository
	Mailer   Mailer
	Events   event.Publisher
	Clock    authentication.Clock
	CodeKeys authentication.CodeKeys
	// Replaced is called after a fresh code was stored in place of the one that eventID was to deliver.
	Replaced func(ctx context.Context, eventID string)
}

// CodeMailSender sends the mails of codes. It is safe for concurrent use.
type CodeMailSender struct{ deps CodeMailSenderDeps }

// NewCodeMailSender returns a [CodeMailSender].
func NewCodeMailSender(d CodeMailSenderDeps) *CodeMailSender { return &CodeMailSender{deps: d} }

// Send mails the code of the event eventID, unless a newer code has replaced it, it has been used or its request is gone:
// then Send records that and returns event.Drop. A code that is replaced between this look and the mail is still sent;
// it no longer verifies. Whether the code has expired is for the mailer to judge; one that expired before its mail could
// leave is replaced by a fresh one.
func (m *CodeMailSender) Send(ctx context.Context, eventID string, d event.VerificationRequested) error {
	return m.sendCurrent(ctx, eventID, d, func() error { return m.deps.Mailer.SendVerification(ctx, eventID, d) })
}

// SendReset is Send for a code that sets a new password.
func (m *CodeMailSender) SendReset(ctx context.Context, eventID string, d event.PasswordResetRequested) error {
	return m.sendCurrent(ctx, eventID, event.VerificationRequested(d),
		func() error { return m.deps.Mailer.SendPasswordReset(ctx, eventID, d) })
}

func (m *CodeMailSender) sendCurrent(
	ctx context.Context, eventID string, d event.VerificationRequested, send func() error,
) error {
	request, err := m.deps.Requests.ByEvent(ctx, eventID)
	if err != nil && !errors.Is(err, authentication.ErrCodeNotFound) {
		return err
	}
	if err == nil && request.Code.UsedAt.IsZero() {
		return m.send(ctx, eventID, d, send)
	}
	if err := m.deps.Mailer.Supersede(ctx, eventID); err != nil {
		return err
	}
	return event.Drop(event.DropSuperseded)
}

func (m *CodeMailSender) send(
	ctx context.Context, eventID string, d event.VerificationRequested, send func() error,
) error {
	result := send()
	if outcome, _ := event.Ended(result); outcome != event.DropExpired {
		return result
	}
	never, err := m.deps.Mailer.NeverLeft(ctx, eventID)
	if err == nil && never {
		err = m.replace(ctx, eventID, d.UserID, d.Locale)
	}
	if err != nil {
		return err // the event comes back, and finds its mail expired
	}
	return result
}
