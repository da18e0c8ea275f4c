package usecase_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/mock"
	"github.com/smap-platform/identity/internal/notification/usecase"
)

const (
	eventID   = "evt_019c1000-0000-7000-8000-000000000001"
	messageID = eventID + "@smap.example"
	recipient = "an@example.com"
	code      = "123456"
	lease     = time.Minute
)

var (
	start     = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	expiresAt = start.Add(10 * time.Minute)
	content   = notification.Content{Subject: "Your code", Text: "Your code is there.", HTML: "<p>Your code is there.</p>"}
	errFire   = errors.New("the database is on fire")
	policy    = event.Policy{
		Levels: []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute}, GiveUpAfter: time.Hour,
	}
)

type fakeClock struct{ now time.Time }

func (c *fakeClock) Now() time.Time { return c.now }

// fixture is a Sender whose database is a map with the rules of a real transaction: it needs a context that has not
// ended, and it can fail at its commit, which undoes everything.
type fixture struct {
	*testing.T
	sender   *usecase.Sender
	deps     usecase.Deps
	clock    *fakeClock
	mailer   *mock.MockMailer
	renderer *mock.MockRenderer
	observer *mock.MockObserver
	deliver  func(ctx context.Context) error // delivers the event once
	mail     notification.Mail               // what the mailer is given

	mu       sync.Mutex // one transaction at a time
	entries  map[string]notification.Delivery
	failures int                           // how many commits fail before one succeeds
	saved    func(d notification.Delivery) // called in the transaction, when set
	began    func(ctx context.Context)     // called at the beginning of each transaction, when set
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ctrl := gomock.NewController(t)
	f := &fixture{
		T:        t,
		clock:    &fakeClock{start},
		entries:  map[string]notification.Delivery{},
		mailer:   mock.NewMockMailer(ctrl),
		renderer: mock.NewMockRenderer(ctrl),
		observer: mock.NewMockObserver(ctrl),
	}
	ledger := mock.NewMockLedger(ctrl)
	ledger.EXPECT().Lock(inside, gomock.Any()).DoAndReturn(
		func(_ context.Context, fresh notification.Delivery) (notification.Delivery, error) {
			if d, ok := f.entries[fresh.EventID]; ok {
				return d, nil
			}
			return fresh, nil
		}).AnyTimes()
	ledger.EXPECT().Save(inside, gomock.Any()).DoAndReturn(func(_ context.Context, d notification.Delivery) error {
		f.entries[d.EventID] = d
		if f.saved != nil {
			f.saved(d)
		}
		return nil
	}).AnyTimes()
	f.deps = usecase.Deps{
		Tx:       f,
		Ledger:   ledger,
		Mailer:   f.mailer,
		Renderer: f.renderer,
		Clock:    f.clock,
		Observer: f.observer,
		Lease:    lease,
		Domain:   "smap.example",

		RenewEvery: lease,
	}
	f.sender = usecase.New(f.deps)
	f.mail = notification.Mail{MessageID: messageID, To: recipient, Content: content}
	f.deliver = func(ctx context.Context) error {
		return f.sender.SendVerification(ctx, eventID, event.VerificationRequested{
			UserID:    "user-1",
			Recipient: recipient,
			OTPCode:   code,
			Locale:    "vi",
			ExpiresAt: expiresAt,
		})
	}
	return f
}

type inTx struct{}

// WithinTxRetry implements notification.Transactor.
func (f *fixture) WithinTxRetry(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.began != nil {
		f.began(ctx)
	}
	saved := maps.Clone(f.entries)
	err := fn(context.WithValue(ctx, inTx{}, true))
	if err == nil && f.failures > 0 {
		f.failures--
		err = errFire
	}
	if err != nil {
		f.entries = saved
	}
	return err
}

// inside and outside match the context of a call that must be, or must not be, in a transaction.
var (
	inside  = ctxMatcher(true)
	outside = ctxMatcher(false)
)

type ctxMatcher bool

func (m ctxMatcher) Matches(x any) bool {
	ctx, ok := x.(context.Context)
	return ok && (ctx.Value(inTx{}) != nil) == bool(m)
}

func (m ctxMatcher) String() string {
	if m {
		return "is a context inside a transaction"
	}
	return "is a context outside any transaction"
}

// decide returns what a broker does about err.
func (f *fixture) decide(err error, stopping bool) event.Decision {
	return event.Decide(err, event.Delivery{Message: event.Message{ID: eventID}}, policy, stopping, f.clock.now)
}

// requireOutcome delivers once and requires this outcome.
func (f *fixture) requireOutcome(action event.Action, outcome string) event.Decision {
	f.Helper()
	decision := f.decide(f.deliver(context.Background()), false)
	require.Equal(f, action, decision.Action)
	require.Equal(f, outcome, decision.Outcome)
	return decision
}

func (f *fixture) entry() notification.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.entries[eventID]
}

// renders lets the mail be rendered any number of times.
func (f *fixture) renders() {
	f.renderer.EXPECT().Verification("vi", code, gomock.Any(), expiresAt).Return(content, nil).AnyTimes()
}

type accept = func(context.Context) error

// conversation expects one mail, the same every time, and runs talk as the conversation.
func (f *fixture) conversation(talk func(ctx context.Context, accepted accept) error) *gomock.Call {
	return f.mailer.EXPECT().Send(outside, f.mail, gomock.Any()).
		DoAndReturn(func(ctx context.Context, _ notification.Mail, accepted func(context.Context) error) error {
			return talk(ctx, accepted)
		})
}

// says250 is the conversation with a server that accepts the mail, as pkg/mailer leads it.
func says250(ctx context.Context, accepted accept) error { return accepted(context.WithoutCancel(ctx)) }

func fails(class notification.Class, where string) func(context.Context, accept) error {
	return func(context.Context, accept) error {
		return &notification.SendError{Class: class, Where: where, Err: errors.New("mailer: " + where)}
	}
}
