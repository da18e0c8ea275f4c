package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	eventID   = "evt_019c1000-0000-7000-8000-000000000001"
	recipient = "ann@example.com"
	code      = "493817"
)

// start is finer than the milliseconds an envelope carries.
var start = time.Date(2026, 1, 31, 9, 30, 0, 123_999_000, time.UTC)

var (
	sealKey = bytes.Repeat([]byte{7}, 32)
	digests = NewDigests(sealKey)
)

// handClock is the database's clock, set by hand.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *handClock { return &handClock{now: start} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// plain is a Render whose mail says everything it was given.
func plain(locale, code string, now, expiresAt time.Time) (subject, html string, err error) {
	if !now.Before(expiresAt) {
		return "", "", errors.New("the code is dead")
	}
	return "Your code [" + locale + "]", fmt.Sprintf(`<p class="a">%s & now %s, until %s</p>`, code,
		now.Format(time.RFC3339Nano), expiresAt.Format(time.RFC3339Nano)), nil
}

func verification() event.Event {
	return event.Event{ID: eventID, Key: event.EmailVerificationRequested, Time: start, Data: event.VerificationRequested{
		UserID: "u1", Recipient: recipient, OTPCode: code, Locale: "vi", ExpiresAt: start.Add(10 * time.Minute),
	}}
}

// with answers a verification whose data has been changed.
func with(change func(*event.VerificationRequested)) event.Event {
	e := verification()
	data := e.Data.(event.VerificationRequested)
	change(&data)
	e.Data = data
	return e
}

func otherEvent() event.Event {
	return event.Event{ID: "evt_2", Key: event.SubscriptionCreated, Time: start, Data: event.SubscriptionCreatedData{
		Version: 1, SubscriptionID: "s1", UserID: "u1", PlanCode: "free", Status: "trialing",
	}}
}

// stored is one call of Rows.Store.
type stored struct {
	event.Message
	sealed bool
}

// memory is a Rows that keeps what it is given.
type memory struct {
	rows   []stored
	failAt int // the call that fails, from 1
}

var errRows = errors.New("the disk is full")

func (r *memory) Store(_ context.Context, m event.Message, sealed bool) error {
	if r.failAt == len(r.rows)+1 {
		return errRows
	}
	r.rows = append(r.rows, stored{m, sealed})
	return nil
}

// commit lets a process in phase publish e, and answers the rows.
func commit(t *testing.T, phase Phase, e event.Event) []stored {
	t.Helper()
	rows := &memory{}
	require.NoError(t, NewPublisher(phase, nil, rows, plain, digests).Publish(context.Background(), e))
	return rows.rows
}

// stampedCopy is the topic copy of e as a process in dual commits it.
func stampedCopy(t *testing.T, e event.Event) event.Message {
	t.Helper()
	return commit(t, Dual, e)[1].Message
}

func requireDecision(t *testing.T, action event.Action, outcome string, err error, m event.Message) event.Decision {
	t.Helper()
	policy := event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Hour}
	d := event.Decide(err, event.Delivery{Message: m}, policy, false, start)
	require.Equal(t, action, d.Action)
	require.Equal(t, outcome, d.Outcome)
	return d
}

func newOutbox(t *testing.T, db *database.DB) *outbox.Publisher {
	t.Helper()
	sealer, err := outbox.NewSealer(sealKey)
	require.NoError(t, err)
	return outbox.NewPublisher(db, sealer, newClock(), func() {})
}

func exec(t *testing.T, db *database.DB, query string) {
	t.Helper()
	_, err := db.Conn(context.Background()).ExecContext(context.Background(), query)
	require.NoError(t, err)
}

func count(t *testing.T, db *database.DB, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, db.Conn(context.Background()).QueryRowContext(context.Background(), query, args...).Scan(&n))
	return n
}
