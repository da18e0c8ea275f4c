package app

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/audit"
	auditsql "github.com/smap-platform/identity/internal/audit/repository/sqldb"
	audits "github.com/smap-platform/identity/internal/audit/usecase"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

// newRecorder returns what records who does what.
func newRecorder(db *database.DB, clock *database.Clock) *audits.Recorder {
	return audits.NewRecorder(auditsql.NewEntries(db), clock)
}

// administration returns what administrators and operators do to accounts.
func administration(
	cfg config.Config, db *database.DB, tx transactor, clock *database.Clock, ender authentication.SubscriptionEnder,
	events event.Publisher,
) *authentications.Administration {
	return authentications.NewAdministration(authentications.AdministrationDeps{
		Tx:            tx,
		Users:         authsql.NewUsers(db),
		Requests:      authsql.NewCodeRequests(db),
		Sessions:      authsql.NewSessions(db),
		Subscriptions: ender,
		Events:        events,
		Audit:         newRecorder(db, clock),
		Clock:         clock,
		EraseAfter:    cfg.Accounts.EraseAfter,
	})
}

// Operator does what is asked for on the command line.
type Operator struct {
	accounts *authentications.Administration
	users    *authsql.Users
	entries  *audits.Reader
	name     string
}

// NewOperator returns the operator who calls themselves name, on the database of role. With the configuration of
// [config.Migrate] those of its verbs can be used that have no mail sent.
func NewOperator(
	ctx context.Context, role config.Role, cfg config.Config, db *database.DB, log zerolog.Logger, name string,
) (*Operator, error) {
	clock, err := onThisRelease(ctx, &cfg, db)
	if err != nil {
		return nil, err
	}
	var events event.Publisher = outbox.NewPublisher(db, nil, clock, func() {}) // which can seal no mail
	if role != config.Migrate {
		if _, events, err = publishing(ctx, cfg, db, log); err != nil {
			return nil, err
		}
	}
	tx := db.WithTxTimeout(inviteTx) // all sessions are many rows
	ender := newEnder(cfg, db, tx, clock, events)
	return &Operator{
		accounts: administration(cfg, db, tx, clock, ender, events),
		users:    authsql.NewUsers(db),
		entries:  audits.NewReader(auditsql.NewEntries(db)),
		name:     name,
	}, nil
}

// newEnder returns what ends the subscription of who is deleted. It begins no trial.
func newEnder(
	cfg config.Config, db *database.DB, tx transactor, clock *database.Clock, events event.Publisher,
) *subscriptions.Lifecycle {
	return subscriptions.NewLifecycle(subscriptions.LifecycleDeps{
		PastDueGrace:  cfg.Subscriptions.PastDueGrace,
		Tx:            tx,
		Clock:         clock,
		Subscriptions: subscriptionsql.NewSubscriptions(db),
		Plans:         subscriptionsql.NewPlans(db),
		Trials:        subscriptionsql.NewTrials(db),
		TrialKey:      nil,
		Users:         userFinder{authsql.NewUsers(db)},
		Events:        events,
		Audit:         newRecorder(db, clock),
	})
}

// RecordOperation writes what an operator is about to do to the system, which no transaction holds.
func RecordOperation(ctx context.Context, db *database.DB, name string, action audit.Action, subject, reason string) error {
	clock, err := startClock(ctx, db)
	if err != nil {
		return err
	}
	return recordOperation(ctx, db, clock, name, action, subject, reason)
}

func recordOperation(
	ctx context.Context, db *database.DB, clock *database.Clock, name string, action audit.Action, subject, reason string,
) error {
	return db.WithinTxRetry(ctx, func(ctx context.Context) error {
		return newRecorder(db, clock).Record(ctx, audit.Entry{
			Action:    action,
			Operator:  name,
			SubjectID: subject,
			Details:   audit.Details{Reason: reason},
		})
	})
}

// promote makes the user with this address an administrator.
func promote(ctx context.Context, cfg config.Config, db *database.DB, email string) error {
	o, err := NewOperator(ctx, config.Migrate, cfg, db, zerolog.Nop(), "standalone")
	if err != nil {
		return err
	}
	return o.ChangeRole(ctx, email, authentication.RoleAdmin)
}

// do runs a verb on the user with an address, in the operator's name.
func (o *Operator) do(ctx context.Context, email string, verb func(ctx context.Context, userID string) error) error {
	user, err := o.accounts.Find(ctx, email)
	if err != nil {
		return err
	}
	return verb(o.named(ctx), user.ID)
}

func (o *Operator) named(ctx context.Context) context.Context {
	return audit.WithOrigin(ctx, audit.Origin{Operator: o.name})
}

// Disable and the other verbs are those of [authentications.Administration], for an address.
func (o *Operator) Disable(ctx context.Context, email, reason string) error {
	return o.do(ctx, email, func(ctx context.Context, id string) error {
		_, err := o.accounts.Disable(ctx, authentication.Operator, id, reason)
		return err
	})
}

// Enable takes an account into use again.
func (o *Operator) Enable(ctx context.Context, email string) error {
	return o.do(ctx, email, func(ctx context.Context, id string) error {
		_, err := o.accounts.Enable(ctx, authentication.Operator, id)
		return err
	})
}

// ChangeRole makes a user an administrator, or no longer one.
func (o *Operator) ChangeRole(ctx context.Context, email string, role authentication.Role) error {
	return o.do(ctx, email, func(ctx context.Context, id string) error {
		_, err := o.accounts.ChangeRole(ctx, authentication.Operator, id, role)
		return err
	})
}

// Delete deletes an account.
func (o *Operator) Delete(ctx context.Context, email, reason string) error {
	return o.do(ctx, email, func(ctx context.Context, id string) error {
		_, err := o.accounts.Delete(ctx, authentication.Operator, id, reason)
		return err
	})
}

// EndSessions ends every session of a user.
func (o *Operator) EndSessions(ctx context.Context, email string) error {
	return o.do(ctx, email, func(ctx context.Context, id string) error {
		return o.accounts.EndSessions(ctx, authentication.Operator, id)
	})
}

// EndAllSessions ends the sessions of everybody, and returns how many there were.
func (o *Operator) EndAllSessions(ctx context.Context) (int64, error) {
	return o.accounts.EndAllSessions(o.named(ctx), authentication.Operator)
}

// Admins returns the administrators.
func (o *Operator) Admins(ctx context.Context) ([]authentication.User, error) {
	return o.users.Admins(ctx)
}

// Audit yields the entries that f selects, the newest first. An address selects whom it was done to.
func (o *Operator) Audit(ctx context.Context, email string, f audit.Filter) ([]audit.Entry, int, error) {
	if email != "" {
		user, err := o.accounts.Find(ctx, email)
		if err != nil {
			return nil, 0, errors.Join(err, errors.New("the entries of a deleted user are found by --user-id"))
		}
		f.UserID = user.ID
	}
	return o.entries.List(ctx, true, f)
}
