package app

import (
	auditsql "github.com/smap-platform/identity/internal/audit/repository/sqldb"
	audits "github.com/smap-platform/identity/internal/audit/usecase"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/password"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/token"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	"github.com/smap-platform/identity/internal/subscription"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
)

// assembleAPI builds what people and other services ask for over HTTP.
func (a *App) assembleAPI(events event.Publisher) {
	if a.passwords == nil {
		hasher := password.New()
		a.metrics.watchHashing(hasher.Load)
		a.passwords = a.legacy.passwords(hasher)
	}
	tokens := token.New(token.Options{
		Secret:   []byte(a.cfg.Secrets.JWT),
		Previous: []byte(a.cfg.Secrets.JWTPrevious),
		Clock:    a.clock,
	})
	lifecycle := subscriptions.NewLifecycle(subscriptions.LifecycleDeps{
		PastDueGrace:  a.cfg.Subscriptions.PastDueGrace,
		Tx:            a.tx,
		Clock:         a.clock,
		Subscriptions: subscriptionsql.NewSubscriptions(a.db),
		Plans:         subscriptionsql.NewPlans(a.db),
		Trials:        subscriptionsql.NewTrials(a.db),
		TrialKey:      subscription.TrialKey(a.cfg.Secrets.TrialDigest),
		Users:         userFinder{authsql.NewUsers(a.db)},
		Events:        events,
		Audit:         newRecorder(a.db, a.clock),
	})
	a.authentication = authentications.New(authentications.Deps{
		Tx:        a.tx,
		Users:     authsql.NewUsers(a.db),
		Requests:  a.legacy.requests(authsql.NewCodeRequests(a.db)),
		Guard:     a.newGuard(),
		Sessions:  a.legacy.sessions(authsql.NewSessions(a.db)),
		Passwords: a.passwords,
		Tokens:    tokens,
		Trials:    lifecycle,
		Events:    events,
		Audit:     newRecorder(a.db, a.clock),
		Clock:     a.clock,
		CodeKeys:  codeKeys(a.cfg.Secrets),

		PasswordRules: a.passwordRules(),
		SessionPolicy: authentication.SessionPolicy{Idle: a.cfg.Cookie.MaxAge, Remember: a.cfg.Cookie.MaxAgeRemember},
		Reused:        a.tokenReused,
	})
	accounts := administration(a.cfg, a.db, a.tx, a.clock, lifecycle, events)
	a.web, a.internal = a.newWeb(services{
		authentication: a.authentication,
		directory: authentications.NewDirectory(authentications.DirectoryDeps{
			Tx:    a.tx,
			Users: authsql.NewUsers(a.db),
			Audit: newRecorder(a.db, a.clock),
			Clock: a.clock,
		}),
		administration: accounts,
		deleter:        authentications.NewDeleter(accounts, a.newGuard(), a.passwords),
		audit:          audits.NewReader(auditsql.NewEntries(a.db)),
		invitations:    a.newInvitations(events),
		subscriptions:  lifecycle,
		plans: subscriptions.NewCatalog(subscriptions.CatalogDeps{
			Tx:    a.tx,
			Clock: a.clock,
			Plans: subscriptionsql.NewPlans(a.db),
			Audit: newRecorder(a.db, a.clock),
		}),
		reading:  projects.NewReading(projects.ReadingDeps{Progress: a.progress.store, Watcher: a.progress.watcher}),
		counting: a.progress.count,
		tokens:   tokens,
	})
}

// passwordRules returns the rules of new passwords.
func (in *infra) passwordRules() authentication.PasswordRules {
	return authentication.PasswordRules{MinChars: in.cfg.Accounts.MinPasswordChars}
}

// newGuard returns what limits tries at passwords and codes.
func (in *infra) newGuard() *authentications.Guard {
	return authentications.NewGuard(authentications.GuardDeps{
		Tx:      in.tx,
		Limits:  authsql.NewLimits(in.db),
		Clock:   in.clock,
		Keys:    codeKeys(in.cfg.Secrets),
		Users:   authsql.NewUsers(in.db),
		Audit:   newRecorder(in.db, in.clock),
		Refused: in.tryRefused,
	})
}

// newInvitations returns what the api does about invitations.
func (a *App) newInvitations(events event.Publisher) *invitations.UseCase {
	users := authsql.NewUsers(a.db)
	return invitations.New(invitations.Deps{
		Tx:            a.tx,
		LongTx:        a.longTx,
		Batches:       invitationsql.NewBatches(a.db),
		Invitations:   invitationsql.NewInvitations(a.db),
		Pace:          invitationsql.NewPace(a.db),
		Accounts:      authentications.NewInvited(users),
		Activator:     activator{a.authentication},
		Owners:        accountFinder{users},
		Passwords:     a.passwords,
		Events:        events,
		Audit:         newRecorder(a.db, a.clock),
		Outbox:        withdrawer{a.db},
		Progress:      batchProgress{a.progress.count, a.progress.store},
		Clock:         a.clock,
		TokenKeys:     codeKeys(a.cfg.Secrets),
		PerSecond:     a.cfg.Invitations.PerSecond,
		ParseEmail:    authentication.ParseEmail,
		CheckPassword: a.passwordRules().Check,
	})
}
