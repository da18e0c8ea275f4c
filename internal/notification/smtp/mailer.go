// Package smtp implements notification.Mailer on pkg/mailer: it translates mails and errors, and adds no promise of its
// own.
package smtp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/pkg/mailer"
	"github.com/smap-platform/identity/pkg/tracing"
)

// Mailer sends by SMTP.
type Mailer struct{ mailer *mailer.Mailer }

// New returns a Mailer on m.
func New(m *mailer.Mailer) *Mailer { return &Mailer{m} }

// Send implements notification.Mailer.
func (m *Mailer) Send(ctx context.Context, mail notification.Mail, accepted func(context.Context) error) error {
	ctx, end := tracing.Begin(ctx, "smtp send", trace.SpanKindClient)
	err := m.mailer.Send(ctx, mailer.Mail{
		MessageID: mail.MessageID,
		To:        mail.To,
		Cc:        mail.Cc,
		ReplyTo:   mail.ReplyTo,
		Subject:   mail.Subject,
		Text:      mail.Text,
		HTML:      mail.HTML,
		Bulk:      mail.Bulk,
	}, accepted)
	end(err)
	if failure, ok := errors.AsType[*mailer.Error](err); ok {
		return &notification.SendError{Class: classOf(failure), Where: where(failure), Err: err}
	}
	return err
}

func classOf(e *mailer.Error) notification.Class {
	switch {
	case e.Class == mailer.Permanent && e.Code == 0: // refused before any server was asked
		return notification.ClassInvalid
	case e.Class == mailer.Permanent:
		return notification.ClassRejected
	case e.Class == mailer.Ambiguous:
		return notification.ClassAmbiguous
	case e.Of == mailer.Us:
		return notification.ClassBlocked
	default:
		return notification.ClassTemporary
	}
}

// where returns the place of a failure: "smtp_rcpt_550", or "smtp_connect" without a reply from the server.
func where(e *mailer.Error) string {
	place := "smtp_" + strings.ToLower(e.Verb)
	if e.Code == 0 {
		return place
	}
	return fmt.Sprintf("%s_%d", place, e.Code)
}
