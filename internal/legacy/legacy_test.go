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
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	eventID   = "evt_019c1000-0000-7000-8000-000000000001"
	recipient = "ann@example.com"
	code      = "493817"
	userID    = "019c1000-0000-7000-8000-0000000000a1"
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
		UserID: userID, Recipient: recipient, OTPCode: code, Locale: "vi", ExpiresAt: start.Add(10 * time.Minute),
	}}
}

// with returns a verification whose data has been changed.
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

// desk is a database with everything around a Publisher.
type desk struct {
	*testing.T
	db    *database.DB
	clock *handClock
	topic *eventtest.Recorder
	woken int
}

func eachDesk(t *testing.T, test func(d *desk)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) { test(newDesk(t, db)) })
}

func newDesk(t *testing.T, db *database.DB) *desk {
	t.Helper()
	return &desk{T: t, db: db, clock: newClock(), topic: &eventtest.Recorder{}}
}

// publisher returns the Publisher of a process in phase.
func (d *desk) publisher(phase Phase, change ...func(*PublisherDeps)) *Publisher {
	deps := PublisherDeps{
		Phase: phase, Next: d.topic, DB: d.db, Clock: d.clock, Sealer: newSealer(d.T), Render: plain, Digests: digests,
		Wake: func() { d.woken++ },
	}
	for _, c := range change {
		c(&deps)
	}
	return NewPublisher(deps)
}

// commit lets a process in phase publish events in one transaction.
func (d *desk) commit(phase Phase, events ...event.Event) {
	d.Helper()
	require.NoError(d, d.db.WithinTx(context.Background(), func(ctx context.Context) error {
		return d.publisher(phase).Publish(ctx, events...)
	}))
}

// register stores the user whom verification is for.
func (d *desk) register() {
	d.Helper()
	exec(d.T, d.db, "INSERT INTO users (id, username, is_active, created_at, updated_at) VALUES ($1, $2, false, $3, $3)",
		userID, recipient, start)
}

// copies returns the legacy copies that wait, in their order, bodies opened.
func (d *desk) copies() (all []event.Message) {
	d.Helper()
	for {
		r, found, err := claim(context.Background(), d.db, newSealer(d.T).KeyIDs(), d.clock.Now(), d.clock.Now().Add(lease))
		require.NoError(d, err)
		if !found {
			return all
		}
		body, err := newSealer(d.T).Open(r.message.ID, r.message.Body)
		require.NoError(d, err)
		r.message.Body = body
		all = append(all, r.message)
	}
}

func (d *desk) count(query string, args ...any) int {
	d.Helper()
	return count(d.T, d.db, query, args...)
}

// stampedCopy is the topic copy of e as a process in dual commits it.
func stampedCopy(t *testing.T, e event.Event) event.Message {
	t.Helper()
	d := newDesk(t, schematest.SQLite(t))
	d.commit(Dual, e)
	m, err := event.Encode(d.topic.Events()[0])
	require.NoError(t, err)
	return m
}

func requireDecision(t *testing.T, action event.Action, outcome string, err error, m event.Message) event.Decision {
	t.Helper()
	policy := event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Hour}
	d := event.Decide(err, event.Delivery{Message: m}, policy, false, start)
	require.Equal(t, action, d.Action)
	require.Equal(t, outcome, d.Outcome)
	return d
}

func newSealer(t *testing.T) *outbox.Sealer {
	t.Helper()
	sealer, err := outbox.NewSealer(sealKey)
	require.NoError(t, err)
	return sealer
}

func exec(t *testing.T, db *database.DB, query string, args ...any) {
	t.Helper()
	_, err := db.Conn(context.Background()).ExecContext(context.Background(), query, args...)
	require.NoError(t, err)
}

func count(t *testing.T, db *database.DB, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, db.Conn(context.Background()).QueryRowContext(context.Background(), query, args...).Scan(&n))
	return n
}
