package app

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/notification/smtp"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	projectevents "github.com/smap-platform/identity/internal/project/delivery/rabbitmq"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	subscriptionredis "github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/mailer"
)

const (
	// mailLease is how long the mail of a killed consumer waits before another may try. With the retry level that looks
	// once too late, it is taken over within 15 s.
	mailLease = 10 * time.Second
	// renewEvery is how often a try renews its lease. Two renewals may fail.
	renewEvery = 3 * time.Second
	// repairEvery is the time between two comparisons of batches with their projects.
	repairEvery = 15 * time.Second
)

// assembleConsumer builds what events ask for, and what looks after the rows they leave.
func (a *App) assembleConsumer(events event.Publisher) error {
	var err error
	if a.mail, err = a.newMailer(); err != nil {
		return err
	}
	_, domain, _ := strings.Cut(a.cfg.SMTP.From, "@")
	mails := notifications.New(notifications.Deps{
		Tx:            a.tx,
		Ledger:        mailsql.NewLedger(a.db),
		Mailer:        smtp.New(a.mail),
		Renderer:      a.renderer,
		Clock:         a.clock,
		Observer:      a.mailObserver(),
		Recipients:    a.recipientKey(),
		Lease:         mailLease,
		RenewEvery:    renewEvery,
		Domain:        domain,
		InvitationURL: a.cfg.Invitations.URL,
	})
	a.sweeper = projects.NewSweeper(a.progress.deps)
	a.repairer = a.newRepairer(a.progress)
	a.scheduler = a.newScheduler(events)
	a.consumer = a.newConsumer(a.consumers(handlers{
		codeMail: authentications.NewCodeMailSender(authentications.CodeMailSenderDeps{
			Tx:       a.db,
			Users:    authsql.NewUsers(a.db),
			Requests: authsql.NewCodeRequests(a.db),
			Mailer:   mails,
			Events:   events,
			Clock:    a.clock,
			CodeKeys: codeKeys(a.cfg.Secrets),
			Replaced: a.codeReplaced,
		}),
		notices: authentications.NewNoticeSender(authentications.NoticeSenderDeps{
			Notices: authsql.NewNotices(a.db),
			Mailer:  mails,
			Clock:   a.clock,
		}),
		invitationMail: invitations.NewMailSender(invitations.MailSenderDeps{
			Invitations: invitationsql.NewInvitations(a.db),
			Accounts:    accountFinder{authsql.NewUsers(a.db)},
			Mailer:      mails,
		}),
		mails:      mails,
		projection: a.newProjection(),
		counting:   a.progress.count,
		counted:    projectevents.CountItem(a.progress.count, a.itemMissed),
		shadow:     a.legacy.shadow(),
		unnamed:    a.legacy.unnamed(),
		written:    mails,
	}))
	a.health.consuming = a.consumer.Err
	a.health.lanes = a.lanes
	a.monitor = a.newEcho(nil, nil)
	a.health.register(a.monitor, detailed)
	a.registerMetrics(a.monitor)
	return nil
}

// newMailer returns the connections to the mail server, of which nothing is opened yet, and says how they will be.
func (in *infra) newMailer() (*mailer.Mailer, error) {
	s := in.cfg.SMTP
	in.log.Info().Str("server", net.JoinHostPort(s.Host, strconv.Itoa(s.Port))).Str("tls", s.TLS).
		Bool("login", s.Username != "").Str("hello_name", s.HelloName).Int("connections", s.Connections).
		Msg("mails go to this server")
	for _, warning := range s.Warnings() {
		in.log.Warn().Str("problem", warning).Msg("a setting of the mail server is unlikely to work; check it")
	}
	return mailer.New(mailer.Options{
		Host:               s.Host,
		Port:               s.Port,
		Username:           s.Username,
		Password:           string(s.Password),
		TLS:                mailer.TLSMode(s.TLS),
		From:               s.From,
		FromName:           s.FromName,
		Timeout:            s.Timeout,
		HelloName:          s.HelloName,
		Connections:        s.Connections,
		MailsPerConnection: s.MailsPerConnection,
		Idle:               s.Idle,
	})
}

// closeMailer says goodbye to the mail server once ctx ends.
func (a *App) closeMailer(ctx context.Context) error {
	<-ctx.Done()
	a.mail.Close()
	return nil
}

// newScheduler returns what does to subscriptions what time does.
func (in *infra) newScheduler(events event.Publisher) *subscriptions.Scheduler {
	grace := in.cfg.Subscriptions.PastDueGrace
	due := subscriptionsql.NewDue(in.db, grace)
	return subscriptions.NewScheduler(subscriptions.SchedulerDeps{
		Tx:           in.tx,
		Clock:        in.clock,
		Due:          due,
		Reminders:    due,
		Recipients:   recipientFinder{authsql.NewUsers(in.db)},
		Pace:         subscriptionsql.NewPace(in.db, subscriptionsql.OverduePace),
		Events:       events,
		Observer:     &schedulerObserver{in.log, in.metrics},
		PastDueGrace: grace,
	})
}

// schedule runs the scheduler, unless it is off.
func (a *App) schedule(ctx context.Context) error {
	if !a.cfg.Subscriptions.Scheduler {
		a.log.Info().Msg("SUBSCRIPTION_SCHEDULER is off: this process expires no subscription and sends no reminder")
		<-ctx.Done()
		return nil
	}
	return a.scheduler.Run(ctx)
}

// newProjection returns what keeps the subscription states in Redis.
func (in *infra) newProjection() *subscriptions.Projection {
	return subscriptions.NewProjection(subscriptions.ProjectionDeps{
		PastDueGrace:  in.cfg.Subscriptions.PastDueGrace,
		Clock:         in.clock,
		Subscriptions: subscriptionsql.NewSubscriptions(in.db),
		States:        subscriptionredis.New(in.state),
	})
}

// newRepairer returns what brings the progress of batches in line with the database.
func (in *infra) newRepairer(p *progress) *invitations.Repairer {
	return invitations.NewRepairer(invitations.RepairerDeps{
		Batches:     invitationsql.NewBatches(in.db),
		Invitations: invitationsql.NewInvitations(in.db),
		Mails:       mailOutcomes{mailsql.NewLedger(in.db)},
		Progress:    batchProgress{p.count, p.store},
		Clock:       in.clock,
		Every:       repairEvery,
		Failed:      in.logRepairFailure,
	})
}
