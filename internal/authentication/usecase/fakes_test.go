package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

const (
	userID   = "019c1000-0000-7000-8000-000000000001"
	email    = "an@example.com"
	password = "correct horse"
	digits   = "123456"
)

var (
	start     = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	codeKey   = authentication.CodeKey("a key of thirty-two bytes, really")
	errBroken = errors.New("the database is on fire")
)

type fakeClock struct{ now time.Time }

func (c *fakeClock) Now() time.Time { return c.now }

// fakeTx marks the context of its function, and remembers how each transaction ended.
type fakeTx struct {
	commits, rollbacks int
	commitErr          error
}

type inTx struct{}

func (tx *fakeTx) WithinTxRetry(ctx context.Context, fn func(context.Context) error) error {
	if err := fn(context.WithValue(ctx, inTx{}, true)); err != nil {
		tx.rollbacks++
		return err
	}
	if tx.commitErr != nil {
		tx.rollbacks++
		return tx.commitErr
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

type fixture struct {
	*usecase.UseCase
	tx        *fakeTx
	users     *mock.MockUserRepository
	codes     *mock.MockCodeRepository
	passwords *mock.MockPasswordHasher
	tokens    *mock.MockTokenIssuer
	trials    *mock.MockTrialStarter
	events    *txRecorder
	clock     *fakeClock
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ctrl := gomock.NewController(t)
	f := &fixture{
		tx:        &fakeTx{},
		users:     mock.NewMockUserRepository(ctrl),
		codes:     mock.NewMockCodeRepository(ctrl),
		passwords: mock.NewMockPasswordHasher(ctrl),
		tokens:    mock.NewMockTokenIssuer(ctrl),
		trials:    mock.NewMockTrialStarter(ctrl),
		events:    &txRecorder{},
		clock:     &fakeClock{now: start},
	}
	f.UseCase = usecase.New(usecase.Deps{
		Tx: f.tx, Users: f.users, Codes: f.codes, Passwords: f.passwords, Tokens: f.tokens,
		Trials: f.trials, Events: f.events, Clock: f.clock, CodeKey: codeKey,
	})
	return f
}

// requireTx asserts how many transactions were committed and rolled back.
func (f *fixture) requireTx(t *testing.T, commits, rollbacks int) {
	t.Helper()
	require.Equal(t, commits, f.tx.commits, "commits")
	require.Equal(t, rollbacks, f.tx.rollbacks, "rollbacks")
}

func pendingUser() authentication.User {
	return authentication.User{
		ID: userID, Email: email, PasswordHash: "stored hash", Role: authentication.RoleUser,
		CreatedAt: start, UpdatedAt: start,
	}
}

func activeUser() authentication.User {
	u := pendingUser()
	u.Active = true
	return u
}

func storedCode() authentication.Code {
	return authentication.Code{
		UserID: userID, Purpose: authentication.PurposeVerification, EventID: "evt_1",
		Digest:    codeKey.Digest(authentication.PurposeVerification, userID, digits),
		CreatedAt: start, ExpiresAt: start.Add(authentication.CodeLifetime),
	}
}

func credentials() authentication.Credentials {
	return authentication.Credentials{Email: email, Password: password}
}
