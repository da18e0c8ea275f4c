package app

import (
	"context"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/password"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/token"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/fanout"
	ledger "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/notification/smtp"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	projectevents "github.com/smap-platform/identity/internal/project/delivery/rabbitmq"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	subscriptionredis "github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/logger"
)

// accounts is what the api does for people.
type accounts struct {
	authentication *authentications.UseCase
	invitations    *authentications.Invitations
	subscriptions  *subscriptions.Lifecycle
	tokens         *token.Issuer
}

// passwords hashes what binaries of the previous release can read as long as they may have to take over again.
func (p *parts) passwords() *password.Hasher {
	hasher := password.New(password.Options{ReadableToPrevious: p.phase.Returnable()})
	p.metrics.watchHashing(hasher.Load)
	return hasher
}

func (p *parts) accounts(
	publisher event.Publisher, passwords authentication.PasswordHasher, tracker tracker,
) *accounts {
	lifecycle := subscriptions.NewLifecycle(subscriptions.LifecycleDeps{
		Tx:            p.db,
		Clock:         p.clock,
		Subscriptions: subscriptionsql.NewSubscriptions(p.db),
		Plans:         subscriptionsql.NewPlans(p.db),
		Events:        publisher,
	})
	tokens := token.New(token.Options{
		Secret: []byte(p.cfg.Secrets.JWT), Lifetime: p.cfg.Cookie.MaxAge, RememberLifetime: p.cfg.Cookie.MaxAgeRemember,
		Clock: p.clock,
	})
	return &accounts{
		authentication: authentications.New(authentications.Deps{
			Tx: p.db, Users: authsql.NewUsers(p.db), Codes: authsql.NewCodes(p.db),
			LegacyCodes: authsql.NewLegacyCodes(p.db), Passwords: passwords, Tokens: tokens,
			Trials: lifecycle, Events: publisher, Clock: p.clock, CodeKey: authentication.CodeKey(p.cfg.Secrets.CodeHMAC),
			Rehash: !p.phase.Returnable(), Mixed: p.phase.Mixed(),
		}),
		invitations:   p.invitations(publisher, tracker, passwords, tokens, lifecycle),
		subscriptions: lifecycle,
		tokens:        tokens,
	}
}

// domains is what the consumer does with events.
type domains struct {
	codeMail       *authentications.CodeMailSender
	invitationMail *authentications.InvitationMailSender
	closingMail    *notifications.Sender
	shadow         *fanout.Shadow
	unnamed        *fanout.Unnamed
	forward        forwarder
	projection     *subscriptions.Projection
	counting       *projects.Counting
	countItem      event.Middleware
}

func (p *parts) domains(counting *projects.Counting) (*domains, error) {
	client, err := newMailer(p.cfg.SMTP)
	if err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(p.cfg.SMTP.From, "@")
	sender := notifications.New(notifications.Deps{
		Tx: p.db, Ledger: ledger.NewLedger(p.db), Mailer: smtp.New(client), Renderer: p.renderer,
		Clock: p.clock, Observer: p.metrics, Lease: p.mailLease(), Domain: domain,
		InvitationURL: p.cfg.Invitations.URL,
	})
	mails := mails{sender, p.log}
	return &domains{
		codeMail:       authentications.NewCodeMailSender(authsql.NewCodes(p.db), mails),
		invitationMail: authentications.NewInvitationMailSender(authsql.NewInvitations(p.db), authsql.NewUsers(p.db), mails),
		closingMail:    sender,
		shadow:         fanout.NewShadow(p.db, p.clock, p.renderCode, p.digests(), p.metrics),
		unnamed:        fanout.NewUnnamed(p.db, p.clock, p.cfg.Secrets.EventsSeal, p.mailLease(), p.log),
		forward:        forwarder{sender, p.log},
		projection:     p.projection(),
		counting:       counting,
		countItem: projectevents.CountItem(counting, func(d event.Delivery, projectID string, err error) {
			p.metrics.marksMissed.Inc()
			p.log.Debug().Err(err).Str("event_id", d.ID).Str("project_id", projectID).
				Msg("an item was not counted; it will be from the database")
		}),
	}, nil
}

// mailLease is how long one try to send a mail may take before another process may try as well: twice the mail
// server's own deadline. A handler is not let run longer.
func (p *parts) mailLease() time.Duration { return 2 * p.cfg.SMTP.Timeout }

func (p *parts) projection() *subscriptions.Projection {
	return subscriptions.NewProjection(subscriptions.ProjectionDeps{
		Subscriptions: subscriptionsql.NewSubscriptions(p.db),
		States:        subscriptionredis.New(p.redis),
	})
}

// mails lets authentication ask notification for mails: neither domain imports the other.
type mails struct {
	sender *notifications.Sender
	log    zerolog.Logger
}

// SendVerification implements authentication.CodeMailer.
func (m mails) SendVerification(ctx context.Context, mail authentication.CodeMail) error {
	err := m.sender.SendVerification(ctx, mail.EventID, event.VerificationRequested{
		Recipient: mail.Recipient, OTPCode: mail.Code, Locale: mail.Locale, ExpiresAt: mail.ExpiresAt,
	})
	m.tell(ctx, mail.EventID, mail.Recipient, err)
	return err
}

// SendInvitation implements authentication.InvitationMailer.
func (m mails) SendInvitation(ctx context.Context, mail authentication.InvitationMail) error {
	err := m.sender.SendInvitation(ctx, mail.EventID, event.InvitationRequested{
		Recipient: mail.Recipient, Token: mail.Token, Locale: mail.Locale, ExpiresAt: mail.ExpiresAt,
	})
	m.tell(ctx, mail.EventID, mail.Recipient, err)
	return err
}

// Supersede implements both.
func (m mails) Supersede(ctx context.Context, eventID string) error {
	return m.sender.Supersede(ctx, eventID)
}

func (m mails) tell(ctx context.Context, eventID, recipient string, err error) {
	if err == nil {
		log := logger.WithTrace(ctx, m.log)
		log.Info().Str("event_id", eventID).Str("to", logger.MaskEmail(recipient)).Msg("mail accepted by the server")
	}
}

// forwarder lets the previous release's mails be sent as they stand.
type forwarder struct {
	sender *notifications.Sender
	log    zerolog.Logger
}

// Forward implements fanout.Forwarder.
func (f forwarder) Forward(ctx context.Context, c fanout.Copy) error {
	err := f.sender.Forward(ctx, notifications.Forwarded{
		EventID: c.EventID, Recipient: c.Recipient, Cc: c.CcAddresses, ReplyTo: c.ReplyTo, Subject: c.Subject, HTML: c.Body,
		ExpiresAt: c.ExpiresAt,
	})
	if err == nil {
		log := logger.WithTrace(ctx, f.log)
		log.Info().Str("event_id", c.EventID).Str("to", logger.MaskEmail(c.Recipient)).Msg("mail of the previous release's path accepted by the server")
	}
	return err
}
