package usecase_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

const (
	userID    = "019c1000-0000-7000-8000-000000000001"
	requestID = "019c1000-0000-7000-8000-000000000002"
	sessionID = "019c1000-0000-7000-8000-000000000003"
	email     = "an@example.com"
	password  = "correct horse"
	digits    = "123456"
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
	requests  *mock.MockCodeRequestRepository
	guard     *fakeGuard
	sessions  *mock.MockSessionRepository
	passwords *mock.MockPasswordHasher
	tokens    *mock.MockTokenIssuer
	trials    *mock.MockTrialStarter
	events    *txRecorder
	clock     *fakeClock
	reused    []authentication.Session
	audit     *fakeAudit
}

// fakeAudit is an audit.Recorder that insists on a transaction.
type fakeAudit struct {
	entries []audit.Entry
	err     error
}

func (a *fakeAudit) Record(ctx context.Context, e audit.Entry) error {
	if ctx.Value(inTx{}) == nil {
		return errors.New("recorded outside a transaction")
	}
	a.entries = append(a.entries, e)
	return a.err
}

// actions returns what was recorded.
func (a *fakeAudit) actions() (actions []audit.Action) {
	for _, e := range a.entries {
		actions = append(actions, e.Action)
	}
	return actions
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ctrl := gomock.NewController(t)
	f := &fixture{
		tx:        &fakeTx{},
		users:     mock.NewMockUserRepository(ctrl),
		requests:  mock.NewMockCodeRequestRepository(ctrl),
		guard:     &fakeGuard{},
		sessions:  mock.NewMockSessionRepository(ctrl),
		passwords: mock.NewMockPasswordHasher(ctrl),
		tokens:    mock.NewMockTokenIssuer(ctrl),
		trials:    mock.NewMockTrialStarter(ctrl),
		events:    &txRecorder{},
		clock:     &fakeClock{now: start},
		audit:     &fakeAudit{},
	}
	f.guardedBy(f.guard)
	return f
}

// guardedBy puts another guard in the place of the fake one.
func (f *fixture) guardedBy(g authentication.Guard) {
	f.UseCase = usecase.New(usecase.Deps{
		Tx: f.tx, Users: f.users, Requests: f.requests, Guard: g, Passwords: f.passwords, Tokens: f.tokens,
		Trials: f.trials, Events: f.events, Clock: f.clock, CodeKeys: authentication.CodeKeys{codeKey}, Sessions: f.sessions, SessionPolicy: policy,
		Audit:  f.audit,
		Reused: func(_ context.Context, s authentication.Session) { f.reused = append(f.reused, s) },
	})
}

var policy = authentication.SessionPolicy{Idle: 2 * time.Hour, Remember: 30 * 24 * time.Hour}

// token is what opens a session that is not remembered.
var token = authentication.Token{Value: "token", Lifetime: policy.Idle}

// opens expects that a session of the user is opened in the transaction, and its token signed.
func (f *fixture) opens(user any, remember bool) {
	var sessionID string
	opened := f.clock.now
	create := f.sessions.EXPECT().Create(inside, gomock.Any()).DoAndReturn(
		func(_ context.Context, s authentication.Session) error {
			if s.Remember != remember || !s.CreatedAt.Equal(opened) || s.Network != "203.0.113.0/24" {
				return fmt.Errorf("a session that was not to be opened: %+v", s)
			}
			sessionID = s.ID
			f.clock.now = opened.Add(time.Millisecond) // which is not to cost the cookie a second
			return nil
		})
	life := policy.Idle
	if remember {
		life = 24 * time.Hour
	}
	f.tokens.EXPECT().Issue(user, gomock.Any(), f.clock.now, f.clock.now.Add(life)).After(create).DoAndReturn(
		func(_ authentication.User, id string, _, _ time.Time) (string, error) {
			f.clock.now = opened
			if id != sessionID {
				return "", errors.New("a token of another session")
			}
			return token.Value, nil
		})
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
		EventID: "evt_1", Digest: codeKey.Digest(authentication.PurposeVerification, requestID, digits),
		CreatedAt: start, ExpiresAt: start.Add(authentication.CodeLifetime),
	}
}

// storedRequest is that of pendingUser's registration.
func storedRequest() authentication.CodeRequest {
	return authentication.CodeRequest{
		ID: requestID, Purpose: authentication.PurposeVerification, Email: email, UserID: userID, Locale: "vi",
		Network: "203.0.113.0/24", PasswordHash: "pending hash", PasswordTag: codeKey.PasswordTag(email, password),
		CreatedAt: start, Code: storedCode(),
	}
}

func changedRequest(change func(*authentication.CodeRequest)) authentication.CodeRequest {
	r := storedRequest()
	if change != nil {
		change(&r)
	}
	return r
}

// browser names the browser of client.
var browser = authentication.NewBrowser()

func browserDigest() []byte {
	digest, _ := authentication.BrowserDigest(browser)
	return digest
}

func client() authentication.Client {
	return authentication.Client{
		IP: netip.MustParseAddr("203.0.113.7"), Locale: "vi", Browsers: []string{browser},
	}
}

// fakeGuard remembers what it was asked, and refuses what refuse says.
type fakeGuard struct {
	calls  []string
	known  []string
	refuse map[string]error
}

func (g *fakeGuard) call(name string) error {
	g.calls = append(g.calls, name)
	return g.refuse[name]
}

func (g *fakeGuard) Login(context.Context, string, authentication.Client) error {
	return g.call("login")
}
func (g *fakeGuard) LoginUndone(context.Context, string, authentication.Client) error {
	return g.call("login undone")
}
func (g *fakeGuard) LoginSucceeded(context.Context, string, authentication.Client) error {
	return g.call("login succeeded")
}
func (g *fakeGuard) CodeFailed(context.Context, string) error    { return g.call("code failed") }
func (g *fakeGuard) CodeSucceeded(context.Context, string) error { return g.call("code succeeded") }

func (g *fakeGuard) Known(context.Context, string, ...string) ([]string, error) {
	return g.known, g.refuse["known"]
}

func (g *fakeGuard) MaySend(_ context.Context, _ string, _ authentication.Client, kind authentication.SendKind) error {
	return g.call("may send " + string(kind))
}

func (g *fakeGuard) Send(ctx context.Context, _ string, _ authentication.Client, kind authentication.SendKind) error {
	if ctx.Value(inTx{}) == nil {
		return errors.New("counted outside a transaction")
	}
	return g.call("send " + string(kind))
}

func credentials() authentication.Credentials {
	return authentication.Credentials{Email: email, Password: password}
}
