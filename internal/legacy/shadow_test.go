package legacy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// theatre is a Shadow with everything around it.
type theatre struct {
	*testing.T
	db      *database.DB
	clock   *handClock
	handle  event.Handler
	next    []string // ids that were not for the shadow
	counted []bool
}

func eachTheatre(t *testing.T, test func(th *theatre)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		th := &theatre{T: t, db: db, clock: newClock()}
		th.handle = NewShadow(ShadowDeps{
			DB: db, Clock: th.clock, Render: plain, Digests: digests,
			Compared: func(match bool) { th.counted = append(th.counted, match) },
		}).Compare(func(_ context.Context, m event.Delivery) error {
			th.next = append(th.next, m.ID)
			return errNext
		})
		test(th)
	})
}

var errNext = errors.New("what the other handler answered")

func (th *theatre) shadows() Shadows {
	th.Helper()
	s, err := ReadShadows(context.Background(), th.db, time.Time{})
	require.NoError(th, err)
	return s
}

// differing is what the table says of an event.
func (th *theatre) differing(id string) (fields string) {
	th.Helper()
	require.NoError(th, th.db.Conn(context.Background()).QueryRowContext(context.Background(),
		"SELECT differing FROM mail_shadows WHERE event_id = $1", id).Scan(&fields))
	return fields
}

// forget empties the table.
func (th *theatre) forget() {
	th.Helper()
	exec(th.T, th.db, "DELETE FROM mail_shadows")
	th.counted = nil
}

func TestShadow(t *testing.T) {
	t.Parallel()
	t.Run("a stamped copy is compared once", func(t *testing.T) {
		t.Parallel()
		eachTheatre(t, func(th *theatre) {
			m := stampedCopy(th.T, verification())
			th.clock.advance(24 * time.Hour) // the code has long been dead; the mail is written as of its event's time
			requireDecision(th.T, event.Ack, "handled", th.handle(context.Background(), event.Delivery{Message: m}), m)
			require.Equal(th, []bool{true}, th.counted)
			require.Empty(th, th.differing(eventID))

			m.Headers["x-legacy-body-hmac"] = "something else"
			requireDecision(th.T, event.Ack, event.DropDuplicate, th.handle(context.Background(), event.Delivery{Message: m}), m)
			require.Equal(th, []bool{true}, th.counted, "the first result stays")
			require.Empty(th, th.differing(eventID))
			require.Empty(th, th.next)
			require.Zero(th, count(th.T, th.db, "SELECT count(*) FROM mail_deliveries"), "the mail ledger is somebody else's")
		})
	})
	t.Run("only stamped copies are compared", func(t *testing.T) {
		t.Parallel()
		eachTheatre(t, func(th *theatre) {
			m := stampedCopy(th.T, verification())
			delete(m.Headers, HeaderOwner)
			require.ErrorIs(th, th.handle(context.Background(), event.Delivery{Message: m}), errNext)
			m.Headers[HeaderOwner] = "somebody"
			require.ErrorIs(th, th.handle(context.Background(), event.Delivery{Message: m}), errNext, "a topic copy sends unless it is stamped legacy")
			m.Headers = nil
			require.ErrorIs(th, th.handle(context.Background(), event.Delivery{Message: m}), errNext)
			require.Equal(th, []string{eventID, eventID, eventID}, th.next)
			require.Empty(th, th.counted)
			require.Zero(th, th.shadows().Matched+th.shadows().Mismatched)
		})
	})
	t.Run("what differs is recorded", func(t *testing.T) {
		t.Parallel()
		other := NewDigests(bytes.Repeat([]byte{8}, 32))
		eachTheatre(t, func(th *theatre) {
			for want, tamper := range map[string]func(*event.Message){
				"subject":   func(m *event.Message) { m.Headers["x-legacy-subject-hmac"] = "" },
				"recipient": func(m *event.Message) { m.Body = bytes.Replace(m.Body, []byte("ann@"), []byte("bob@"), 1) },
				"body":      func(m *event.Message) { m.Body = bytes.Replace(m.Body, []byte(code), []byte("000000"), 1) },
				"subject,body": func(m *event.Message) {
					delete(m.Headers, "x-legacy-subject-hmac")
					delete(m.Headers, "x-legacy-body-hmac")
				},
				"subject,recipient,body": func(m *event.Message) { other.stamp(m.Headers, eventID, Mail{}) },
			} {
				th.forget()
				m := stampedCopy(th.T, verification())
				tamper(&m)
				requireDecision(th.T, event.Ack, "handled", th.handle(context.Background(), event.Delivery{Message: m}), m)
				require.Equal(th, want, th.differing(eventID))
				require.Equal(th, []bool{false}, th.counted)
			}
		})
	})
	t.Run("a stamped copy that is no mail is recorded and dead-lettered", func(t *testing.T) {
		t.Parallel()
		eachTheatre(t, func(th *theatre) {
			for name, c := range map[string]struct {
				body          func(string) string
				reason, class string
			}{
				"no JSON":      {func(string) string { return "hello " + code }, event.ReasonUnreadable, "unreadable"},
				"no recipient": {func(b string) string { return strings.Replace(b, "recipient", "xx", 1) }, event.ReasonInvalid, "invalid"},
				"odd types":    {func(b string) string { return strings.Replace(b, `"`+code+`"`, code, 1) }, event.ReasonInvalid, "invalid"},
				"no time":      {func(b string) string { return strings.Replace(b, "timestamp", "xx", 1) }, event.ReasonInvalid, "invalid"},
				"dead at once": {func(b string) string { return strings.Replace(b, "T09:40:", "T09:29:", 1) }, event.ReasonInvalid, "unrenderable"},
			} {
				th.forget()
				m := stampedCopy(th.T, verification())
				changed := c.body(string(m.Body))
				require.NotEqual(th, string(m.Body), changed, name)
				m.Body = []byte(changed)
				for range 2 { // handed out again, it stays what it is
					err := th.handle(context.Background(), event.Delivery{Message: m})
					d := requireDecision(th.T, event.Dead, c.reason, err, m)
					require.Equal(th, c.class, d.Headers[event.HeaderError], name)
					require.NotContains(th, err.Error(), code, name)
				}
				require.Equal(th, c.class, th.differing(eventID), name)
				require.Equal(th, []bool{false}, th.counted, name)
			}
		})
	})
	t.Run("a result that cannot be stored is tried again", func(t *testing.T) {
		t.Parallel()
		eachTheatre(t, func(th *theatre) {
			m := stampedCopy(th.T, verification())
			unreadable := event.Message{ID: "evt_2", Headers: m.Headers, Body: []byte("{")}
			exec(th.T, th.db, "ALTER TABLE mail_shadows RENAME TO gone")
			for _, m := range []event.Message{m, unreadable} {
				requireDecision(th.T, event.Retry, "retry", th.handle(context.Background(), event.Delivery{Message: m}), m)
			}
			require.Empty(th, th.counted)
			_, err := ReadShadows(context.Background(), th.db, time.Time{})
			require.ErrorContains(th, err, "counting comparisons")
			_, err = PurgeShadows(context.Background(), th.db, start)
			require.ErrorContains(th, err, "purging comparisons")

			exec(th.T, th.db, "ALTER TABLE gone RENAME TO mail_shadows")
			require.NoError(th, th.handle(context.Background(), event.Delivery{Message: m}))
			requireDecision(th.T, event.Dead, event.ReasonUnreadable, th.handle(context.Background(), event.Delivery{Message: unreadable}), unreadable)
			require.Equal(th, []bool{true, false}, th.counted)
		})
	})
}

// The ledger's entry of a compared copy belongs to the copy that is sent: nothing around the handler may touch it.
func TestSent(t *testing.T) {
	t.Parallel()
	for owner, want := range map[string][]string{
		OwnerLegacy: {"handler"},
		"":          {"middleware", "handler"},
		"somebody":  {"middleware", "handler"},
	} {
		var calls []string
		around := Sent(func(next event.Handler) event.Handler {
			return func(ctx context.Context, d event.Delivery) error {
				calls = append(calls, "middleware")
				return next(ctx, d)
			}
		})
		handle := around(func(context.Context, event.Delivery) error {
			calls = append(calls, "handler")
			return errNext
		})
		m := event.Message{ID: eventID, Headers: map[string]string{HeaderOwner: owner}}
		require.ErrorIs(t, handle(context.Background(), event.Delivery{Message: m}), errNext)
		require.Equal(t, want, calls, owner)
	}
}

func TestShadows(t *testing.T) {
	t.Parallel()
	t.Run("are read and purged", func(t *testing.T) {
		t.Parallel()
		eachTheatre(t, func(th *theatre) {
			require.Equal(th, Shadows{Fields: map[string]int{}, MismatchedEvents: []string{}}, th.shadows())
			save := func(id string, differing ...string) {
				fresh, err := saveShadow(context.Background(), th.db, id, differing, th.clock.Now())
				require.NoError(th, err)
				require.True(th, fresh)
				th.clock.advance(time.Second)
			}
			save("evt_old", "body")
			since := th.clock.Now()
			for i := range 12 {
				save(fmt.Sprintf("evt_%02d", i), "subject", "body")
			}
			last := th.clock.Now()
			save("evt_last", "unreadable")
			save("evt_a")
			save("evt_b")

			got, err := ReadShadows(context.Background(), th.db, since.In(time.FixedZone("ICT", 7*3600)))
			require.NoError(th, err)
			require.Equal(th, Shadows{
				Since: since, Matched: 2, Mismatched: 13, LastMismatch: &last,
				Fields: map[string]int{"subject": 12, "body": 12, "unreadable": 1},
				MismatchedEvents: []string{
					"evt_last", "evt_11", "evt_10", "evt_09", "evt_08", "evt_07", "evt_06", "evt_05", "evt_04", "evt_03",
				},
			}, got)

			n, err := PurgeShadows(context.Background(), th.db, since)
			require.NoError(th, err)
			require.EqualValues(th, 1, n)
			n, err = PurgeShadows(context.Background(), th.db, last)
			require.NoError(th, err)
			require.EqualValues(th, 12, n)
			left := th.shadows()
			require.Equal(th, 2, left.Matched)
			require.Equal(th, []string{"evt_last"}, left.MismatchedEvents)
		})
	})
	t.Run("as JSON", func(t *testing.T) {
		t.Parallel()
		text, err := json.Marshal(Shadows{Since: start, Fields: map[string]int{}, MismatchedEvents: []string{}})
		require.NoError(t, err)
		require.JSONEq(t, `{"since":"2026-01-31T09:30:00.123999Z","matched":0,"mismatched":0,"fields":{},"mismatched_events":[]}`, string(text))
		text, err = json.Marshal(Shadows{
			Since: start, Matched: 1, Mismatched: 2, Fields: map[string]int{"body": 2}, LastMismatch: &start, MismatchedEvents: []string{"evt_1"},
		})
		require.NoError(t, err)
		require.JSONEq(t, `{"since":"2026-01-31T09:30:00.123999Z","matched":1,"mismatched":2,"fields":{"body":2},
		"last_mismatch":"2026-01-31T09:30:00.123999Z","mismatched_events":["evt_1"]}`, string(text))
	})
}
