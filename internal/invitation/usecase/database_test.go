package usecase_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	"github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

const day = 24 * time.Hour

// tap stores events in the real outbox and remembers them.
type tap struct {
	eventtest.Recorder
	outbox event.Publisher
}

func (p *tap) Publish(ctx context.Context, events ...event.Event) error {
	if err := p.outbox.Publish(ctx, events...); err != nil {
		return err
	}
	return p.Recorder.Publish(ctx, events...)
}

// withdrawer is the real outbox.
type withdrawer struct{ db *database.DB }

func (w withdrawer) Withdraw(ctx context.Context, batch string, now time.Time) ([]string, error) {
	return outbox.Withdraw(ctx, w.db, batch, now)
}

// accounts are the real ones, with the errors of this domain.
type accounts struct {
	users  *authsql.Users
	people *authentications.UseCase
}

func (a accounts) Account(ctx context.Context, userID string) (invitation.Account, error) {
	u, err := a.users.ByID(ctx, userID)
	if errors.Is(err, authentication.ErrUserNotFound) {
		err = invitation.ErrAccountNotFound
	}
	return invitation.Account{Email: u.Email, Active: u.Active}, err
}

func (a accounts) Activate(
	ctx context.Context, userID, passwordHash string, _ invitation.Client,
) (invitation.Session, error) {
	session, err := a.people.Activate(ctx, userID, passwordHash, authentication.Client{})
	switch {
	case errors.Is(err, authentication.ErrUserNotFound):
		err = invitation.ErrInvalid
	case errors.Is(err, authentication.ErrAlreadyVerified):
		err = invitation.ErrUsed
	}
	return invitation.Session{Token: session.Token.Value, Lifetime: session.Token.Lifetime}, err
}

// plain is a PasswordHasher that hashes nothing.
type plain struct{}

func (plain) Hash(_ context.Context, password string) (string, error) { return password, nil }

func (plain) Verify(_ context.Context, hash, password string) (ok, outdated bool, err error) {
	return hash == password, false, nil
}

type tokens struct{}

func (tokens) Issue(u authentication.User, _ string, _, _ time.Time) (string, error) {
	return "token of " + u.ID, nil
}

func (tokens) CheckExpired(string) (authentication.Claims, error) {
	return authentication.Claims{}, authentication.ErrUnauthenticated
}

func (tokens) Check(string) (authentication.Claims, error) {
	return authentication.Claims{}, authentication.ErrUnauthenticated
}

// noGuard limits nothing.
type noGuard struct{ authentication.Guard }

func (noGuard) Login(context.Context, string, authentication.Client) error          { return nil }
func (noGuard) LoginUndone(context.Context, string, authentication.Client) error    { return nil }
func (noGuard) LoginSucceeded(context.Context, string, authentication.Client) error { return nil }
func (noGuard) CodeSucceeded(context.Context, string) error                         { return nil }
func (noGuard) Known(context.Context, string, ...string) ([]string, error)          { return nil, nil }
func (noGuard) MaySend(context.Context, string, authentication.Client, authentication.SendKind) error {
	return nil
}

func (noGuard) Send(context.Context, string, authentication.Client, authentication.SendKind) error {
	return nil
}

// trials counts.
type trials struct {
	mu      sync.Mutex
	started int
}

func (t *trials) StartTrial(context.Context, string, string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started++
	return nil
}

// progress is a Redis that can be unavailable. It counts as the real one does, as far as it matters here.
type progress struct {
	mu     sync.Mutex
	outage error
	totals map[string]int64
	failed map[string]map[string]bool // by project, then by item
}

func newProgress() *progress {
	return &progress{totals: map[string]int64{}, failed: map[string]map[string]bool{}}
}

func (p *progress) Open(_ context.Context, id, _ string, total int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outage == nil && p.failed[id] == nil {
		p.failed[id] = map[string]bool{}
	}
	if p.outage == nil && p.totals[id] == 0 {
		p.totals[id] = total
	}
	return p.outage
}

func (p *progress) Begin(ctx context.Context, id, owner string) error {
	return p.Open(ctx, id, owner, 0)
}

func (p *progress) Forget(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outage == nil {
		delete(p.failed, id)
		delete(p.totals, id)
	}
	return p.outage
}

func (p *progress) Mark(_ context.Context, id string, items []invitation.Item) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(items) == 0 || len(items) > invitation.MaxItems {
		return fmt.Errorf("%d items", len(items))
	}
	for _, i := range items {
		if before, known := p.failed[id][i.ID]; p.outage == nil && p.failed[id] != nil && (!known || before) {
			p.failed[id][i.ID] = i.Failed
		}
	}
	return p.outage
}

func (p *progress) State(_ context.Context, id string) (found, final bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found = p.totals[id] > 0
	return found, found && int64(len(p.failed[id])) >= p.totals[id], p.outage
}

// counts returns done and errors.
func (p *progress) counts(id string) (done, errors int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, failed := range p.failed[id] {
		if failed {
			errors++
		}
	}
	return len(p.failed[id]), errors
}

// mails is the ledger.
type mails map[string]bool

func (m mails) Outcomes(_ context.Context, ids []string) (map[string]bool, error) {
	known := map[string]bool{}
	for _, id := range ids {
		if sent, ended := m[id]; ended {
			known[id] = sent
		}
	}
	return known, nil
}

// flow is bulk invitations on real repositories, accounts and outbox.
type flow struct {
	*testing.T
	*usecase.UseCase
	deps        usecase.Deps // for another process
	db          *database.DB
	users       *authsql.Users
	people      *authentications.UseCase
	repair      *usecase.Repairer
	closer      *usecase.Closer
	purge       *usecase.Purger
	invitations *sqldb.Invitations
	clock       *clock
	trials      *trials
	events      *tap
	progress    *progress
	mails       mails
	admin       authentication.User
	actor       invitation.Actor
}

// onDatabase returns a test that runs on every engine.
func onDatabase(test func(f flow)) func(t *testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) { test(newFlow(t, db)) })
	}
}

func newFlow(t *testing.T, db *database.DB) flow {
	t.Helper()
	sealer, err := outbox.NewSealer(make([]byte, 32))
	require.NoError(t, err)
	c := &clock{now}
	f := flow{
		T:           t,
		db:          db,
		users:       authsql.NewUsers(db),
		invitations: sqldb.NewInvitations(db),
		clock:       c,
		trials:      &trials{},
		events:      &tap{outbox: outbox.NewPublisher(db, sealer, c, func() {})},
		progress:    newProgress(),
		mails:       mails{},
	}
	f.admin = f.createAdmin("admin@example.com")
	f.actor = invitation.Actor{UserID: f.admin.ID, Admin: true}
	f.people = authentications.New(authentications.Deps{
		Audit:     &audittest.Recorder{},
		Tx:        db,
		Users:     f.users,
		Requests:  authsql.NewCodeRequests(db),
		Guard:     noGuard{},
		Passwords: plain{},
		Tokens:    tokens{},
		Sessions:  authsql.NewSessions(db),
		Trials:    f.trials,
		Events:    f.events,
		Clock:     c,
		CodeKeys:  authentication.CodeKeys{[]byte("key")},
	})
	finder := accounts{f.users, f.people}
	batches, invited := sqldb.NewBatches(db), authentications.NewInvited(f.users)
	f.deps = usecase.Deps{
		Audit:         &audittest.Recorder{},
		Tx:            db,
		LongTx:        db.WithTxTimeout(time.Minute),
		Batches:       batches,
		Invitations:   f.invitations,
		Pace:          sqldb.NewPace(db),
		Accounts:      invited,
		Activator:     finder,
		Owners:        finder,
		Passwords:     plain{},
		Events:        f.events,
		Outbox:        withdrawer{db},
		Progress:      f.progress,
		Clock:         c,
		TokenKeys:     tokenKey,
		PerSecond:     perSecond,
		ParseEmail:    authentication.ParseEmail,
		CheckPassword: authentication.PasswordRules{}.Check,
	}
	f.UseCase = usecase.New(f.deps)
	f.repair = usecase.NewRepairer(usecase.RepairerDeps{
		Batches:     batches,
		Invitations: f.invitations,
		Mails:       f.mails,
		Progress:    f.progress,
		Clock:       c,
		Every:       time.Hour,
		Failed:      func(string, bool, error) {},
	})
	f.closer = usecase.NewCloser(usecase.CloserDeps{Batches: batches, Accounts: finder, Events: f.events})
	f.purge = usecase.NewPurger(usecase.PurgerDeps{Invitations: f.invitations, Accounts: invited})
	return f
}

func (f flow) createAdmin(email string) authentication.User {
	f.Helper()
	u := authentication.User{
		ID:           uuid.Must(uuid.NewV7()).String(),
		Email:        email,
		PasswordHash: "hash",
		Role:         authentication.RoleAdmin,
		Active:       true,
		CreatedAt:    now,
		UpdatedAt:    now,
	}
	require.NoError(f, f.users.Create(context.Background(), u))
	return u
}

func (f flow) exec(query string, args ...any) {
	f.Helper()
	_, err := f.db.Conn(context.Background()).ExecContext(context.Background(), query, args...)
	require.NoError(f, err)
}

// try sends an upload and returns what was rejected of it as well.
func (f flow) try(key string, addresses ...string) (invitation.Receipt, []rejection, error) {
	f.Helper()
	report, err := os.CreateTemp(f.TempDir(), "report")
	require.NoError(f, err)
	defer func() { require.NoError(f, report.Close()) }()
	digest := sha256.Sum256([]byte(strings.Join(addresses, "\n")))
	receipt, err := f.Invite(context.Background(), f.actor, invitation.Upload{
		Addresses: lines(addresses), Digest: digest[:], IdempotencyKey: key, Locale: "vi", Rejected: report,
	})
	if err != nil {
		return receipt, nil, err
	}
	_, err = report.Seek(0, io.SeekStart)
	require.NoError(f, err)
	return receipt, readReport(f.T, report), nil
}

// invite is try of something where nothing is wrong.
func (f flow) invite(addresses ...string) string {
	f.Helper()
	receipt, rejected, err := f.try("", addresses...)
	require.NoError(f, err)
	require.Empty(f, rejected)
	require.Equal(f, int64(len(addresses)), receipt.Accepted)
	return receipt.BatchID
}

// sent returns the events of invitations of a batch, in the order in which they were stored.
func (f flow) sent(batch string) []event.Event {
	var some []event.Event
	for _, e := range f.events.Events() {
		if e.Key == event.InvitationRequested && e.Batch == batch {
			some = append(some, e)
		}
	}
	return some
}

func token(e event.Event) string { return e.Data.(event.InvitationMail).Token }

// rows counts.
func (f flow) rows(query string, args ...any) (n int) {
	f.Helper()
	require.NoError(f, f.db.Conn(context.Background()).QueryRowContext(context.Background(), "SELECT count(*) FROM "+query, args...).Scan(&n))
	return n
}

func people(n int) []string {
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("person-%05d@example.com", i)
	}
	return addresses
}

func (f flow) cancel(batch string) int64 {
	f.Helper()
	n, err := f.Cancel(context.Background(), f.actor, batch)
	require.NoError(f, err)
	return n
}

// leave lets the first n rows of a batch leave the outbox, as the relay does.
func (f flow) leave(batch string, n int) []event.Event {
	f.Helper()
	events := f.sent(batch)[:n]
	for _, e := range events {
		f.exec("DELETE FROM outbox WHERE event_id = $1", e.ID)
	}
	return events
}

// complete announces a batch's project, as the project domain does.
func (f flow) complete(id string) error {
	return f.db.WithinTx(context.Background(), func(ctx context.Context) error {
		return f.closer.Close(ctx, invitation.Completion{
			ProjectID: id, Total: 3, Done: 3, Errors: 1, CompletedAt: f.clock.now,
		})
	})
}
