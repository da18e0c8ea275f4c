package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

//go:generate go tool mockgen -source=send_notice.go -destination=../mock/send_notice.go -package=mock

// NoticeMailer sends notices. Its errors are in the vocabulary of [event].
type NoticeMailer interface {
	// SendAccountExists sends the mail at most once per event id.
	SendAccountExists(ctx context.Context, eventID string, d event.AccountExistsMail) error
	// Supersede records that the mail of eventID is not sent because another one says the same.
	Supersede(ctx context.Context, eventID string) error
}

// NoticeSenderDeps are the dependencies of a [NoticeSender]. All are required.
type NoticeSenderDeps struct {
	Notices authentication.NoticeRepository
	Mailer  NoticeMailer
	Clock   authentication.Clock
}

// NoticeSender sends notices to the owners of accounts. It is safe for concurrent use.
type NoticeSender struct{ deps NoticeSenderDeps }

// NewNoticeSender returns a [NoticeSender].
func NewNoticeSender(d NoticeSenderDeps) *NoticeSender { return &NoticeSender{deps: d} }

// SendAccountExists sends a user the notice that their address was registered, at most once an hour: every registration
// asks for it, because a registration must not show whether it has.
func (n *NoticeSender) SendAccountExists(ctx context.Context, eventID string, d event.AccountExistsMail) error {
	now := n.deps.Clock.Now()
	claimed, err := n.deps.Notices.Claim(ctx, d.UserID, eventID, now, now.Add(-time.Hour))
	if err != nil {
		return err
	}
	if claimed {
		return n.deps.Mailer.SendAccountExists(ctx, eventID, d)
	}
	if err := n.deps.Mailer.Supersede(ctx, eventID); err != nil {
		return err
	}
	return event.Drop(event.DropSuperseded)
}
