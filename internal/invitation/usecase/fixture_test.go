package usecase_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/mock"
	"github.com/smap-platform/identity/internal/invitation/usecase"
)

const (
	userID   = "019c1000-0000-7000-8000-000000000001"
	adminID  = "019c1000-0000-7000-8000-00000000000a"
	batchID  = "proj_019c1000-0000-7000-8000-000000000002"
	password = "correct horse"
	client   = "where the request comes from"
)

var (
	now         = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	tokenKey    = invitation.TokenKeys{[]byte("a key of thirty-two bytes, really")}
	actor       = invitation.Actor{UserID: adminID, Admin: true}
	errBroken   = errors.New("the database is on fire")
	errAddress  = errors.New("not an address")
	errPassword = errors.New("too short")
)

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// fakeTx marks the context of its function, and remembers how each transaction ended.
type fakeTx struct{ commits, rollbacks int }

type inTx struct{}

func (tx *fakeTx) WithinTxRetry(ctx context.Context, fn func(context.Context) error) error {
	if err := fn(context.WithValue(ctx, inTx{}, true)); err != nil {
		tx.rollbacks++
		return err
	}
	tx.commits++
	return nil
}

// inside and outside are matchers for the context of a call that has to be, or must not be, in a transaction.
var (
	inside  = ctxMatcher{want: true}
	outside = ctxMatcher{want: false}
)

type ctxMatcher struct{ want bool }

func (m ctxMatcher) Matches(x any) bool {
	ctx, ok := x.(context.Context)
	return ok && (ctx.Value(inTx{}) != nil) == m.want
}

func (m ctxMatcher) String() string {
	if m.want {
		return "is a context inside a transaction"
	}
	return "is a context outside any transaction"
}

// txRecorder is a Recorder that insists on a transaction, as the outbox does.
type txRecorder struct{ eventtest.Recorder }

func (r *txRecorder) Publish(ctx context.Context, events ...event.Event) error {
	if ctx.Value(inTx{}) == nil {
		return errors.New("published outside a transaction")
	}
	return r.Recorder.Publish(ctx, events...)
}

// fixture is a UseCase with everything mocked.
type fixture struct {
	*usecase.UseCase
	tx, longTx  *fakeTx
	batches     *mock.MockBatchRepository
	invitations *mock.MockRepository
	pace        *mock.MockPaceRepository
	accounts    *mock.MockAccountCreator
	activator   *mock.MockActivator
	owners      *mock.MockAccountFinder
	passwords   *mock.MockPasswordHasher
	events      *txRecorder
	outbox      *mock.MockOutbox
	progress    *mock.MockProgress
}

func newFixture(t *testing.T, options ...func(*usecase.Deps)) *fixture {
	t.Helper()
	ctrl := gomock.NewController(t)
	f := &fixture{
		tx:          &fakeTx{},
		longTx:      &fakeTx{},
		batches:     mock.NewMockBatchRepository(ctrl),
		invitations: mock.NewMockRepository(ctrl),
		pace:        mock.NewMockPaceRepository(ctrl),
		accounts:    mock.NewMockAccountCreator(ctrl),
		activator:   mock.NewMockActivator(ctrl),
		owners:      mock.NewMockAccountFinder(ctrl),
		passwords:   mock.NewMockPasswordHasher(ctrl),
		events:      &txRecorder{},
		outbox:      mock.NewMockOutbox(ctrl),
		progress:    mock.NewMockProgress(ctrl),
	}
	deps := usecase.Deps{
		Audit:         &audittest.Recorder{},
		Tx:            f.tx,
		LongTx:        f.longTx,
		Batches:       f.batches,
		Invitations:   f.invitations,
		Pace:          f.pace,
		Accounts:      f.accounts,
		Activator:     f.activator,
		Owners:        f.owners,
		Passwords:     f.passwords,
		Events:        f.events,
		Outbox:        f.outbox,
		Progress:      f.progress,
		Clock:         &clock{now},
		TokenKeys:     tokenKey,
		PerSecond:     perSecond,
		ParseEmail:    parseEmail,
		CheckPassword: checkPassword,
	}
	for _, option := range options {
		option(&deps)
	}
	f.UseCase = usecase.New(deps)
	return f
}

// perSecond and gap are the pace of all mails.
const (
	perSecond = 20
	gap       = time.Second / perSecond
)

// parseEmail accepts everything with an @.
func parseEmail(s string) (string, error) {
	if !strings.Contains(s, "@") {
		return "", errAddress
	}
	return strings.ToLower(s), nil
}

func checkPassword(p, email string) error {
	if len(p) < 8 || p == email {
		return errPassword
	}
	return nil
}

// requireTx asserts how many transactions were committed and rolled back.
func (tx *fakeTx) requireTx(t *testing.T, commits, rollbacks int) {
	t.Helper()
	require.Equal(t, commits, tx.commits, "commits")
	require.Equal(t, rollbacks, tx.rollbacks, "rollbacks")
}

// newInvitation returns a stored invitation.
func newInvitation(change func(*invitation.Invitation)) invitation.Invitation {
	i := invitation.Invitation{
		ID:        "i",
		BatchID:   batchID,
		UserID:    userID,
		EventID:   "evt_1",
		CreatedAt: now,
		ExpiresAt: now.Add(invitation.Lifetime),
	}
	if change != nil {
		change(&i)
	}
	return i
}

func accepted(i *invitation.Invitation)  { i.AcceptedAt = now }
func cancelled(i *invitation.Invitation) { i.CancelledAt = now }
func expired(i *invitation.Invitation)   { i.ExpiresAt = now }

// lines is an upload in memory.
type lines []string

func (l lines) Each(fn func(line int, address string) error) error {
	for i, address := range l {
		if err := fn(i+1, address); err != nil {
			return err
		}
	}
	return nil
}
