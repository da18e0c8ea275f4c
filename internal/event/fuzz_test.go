package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/verbatim"
)

const envelope = `{"event_id":"evt_1","timestamp":"2026-01-31T09:30:00.123Z","payload":`

// Every handler of an event reads it in this way: it gets data that is whole and says the same when it is sent on, or
// the message is dead-lettered with a reason that quotes nothing of it.
func FuzzEnvelope(f *testing.F) {
	sent, err := event.Encode(verification())
	require.NoError(f, err)
	f.Add(sent.Body)
	for _, seed := range []string{
		envelope + `{"data":{"user_id":"u1","recipient":"an@x.vn","otp_code":"493817","locale":"vi","expires_at":"2026-01-31T09:40:00Z"}}}`,
		envelope + `{"project_id":"p1","user_id":"u1","status":"x"}}`, envelope + `{"project_id":"p1","data":{"project_id":"p1","user_id":"u1"}}}`,
		envelope + `{"project_id":"p:1","user_id":"u1"}}`, envelope + `{"project_id":7}}`, envelope + `[]}`, envelope + `null}`, envelope + `{"data":null}}`,
		envelope + `{"data":{"project_id":"p1","user_id":"u:1"}}}`, envelope + `{"data":{"project_id":"p1","user_id":"\ud800"}}}`, "{}", "null", "7", "",
		`{"event_id":"a\u0000b","payload":{}}`, `{"event_id":7,"payload":{}}`, "{\"event_id\":\"a\xff\",\"payload\":{}}",
		envelope + `{"data":{"version":1,"subscription_id":"s","user_id":"u","plan_code":"p","new_status":"active","effective_until":null}}}`,
		envelope + `{"data":{"version":1e3,"subscription_id":"s","user_id":"u","plan_code":"p","status":"x","created_at":"0001-01-01T00:00:00+14:00"}}}`,
		envelope + `{"data":{"user_id":"u1","recipient":"an@x.vn","otp_code":"1","expires_at":"9999-12-31T23:59:59-14:00"}}}`,
		envelope + `{"data":{"project_id":"p1","user_id":"u1"},"data":{"project_id":"p2"}}}`,
		`{"event_id":"a","timestamp":"9999-12-31T23:59:59-14:00","payload":{"project_id":"p1","user_id":"u1"}}`,
		`{"event_id":"a","timestamp":"0000-01-01T00:00:00+14:00","payload":{"project_id":"p1","user_id":"u1"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		handles[event.VerificationRequested](t, event.EmailVerificationRequested, body)
		handles[event.ProjectCreatedData](t, event.ProjectCreated, body)
		handles[event.SubscriptionStatusChangedData](t, event.SubscriptionStatusChanged, body)
		handles[event.SubscriptionCreatedData](t, event.SubscriptionCreated, body)
	})
}

// handles checks one way to read the body.
func handles[T event.Payload](t *testing.T, key event.RoutingKey, body []byte) {
	t.Helper()
	var calls int
	var got event.Received
	var data T
	m := event.Message{ID: "evt_1", RoutingKey: string(key), Body: body}
	err := event.Handle(func(_ context.Context, e event.Received, d T) error {
		calls, got, data = calls+1, e, d
		return nil
	})(context.Background(), event.Delivery{Message: m})
	if err != nil {
		require.Zero(t, calls)
		decision := event.Decide(err, event.Delivery{Message: m}, event.Policy{Levels: []time.Duration{time.Second}}, false, when)
		require.Equal(t, event.Dead, decision.Action)
		for _, text := range secrets(body) {
			require.NotContains(t, err.Error(), text)
		}
		return
	}
	require.Equal(t, 1, calls)
	require.True(t, verbatim.JSON(body))
	require.NoError(t, event.CheckID(got.ID))
	require.NotEmpty(t, got.ID)
	require.Equal(t, got.ID, event.BodyID(body))
	require.NoError(t, event.CheckPartID(got.ProjectID))
	require.NoError(t, data.Validate())

	again, err := event.Encode(event.Event{ID: got.ID, Key: key, Time: got.Time, ProjectID: got.ProjectID, Data: data})
	if errors.Is(err, event.ErrTooLarge) {
		return
	}
	require.NoError(t, err, "what was read can be written")
	e, same, err := event.Decode[T](again)
	require.NoError(t, err)
	require.Equal(t, got.ID, e.ID)
	require.Equal(t, got.ProjectID, e.ProjectID)
	require.WithinDuration(t, got.Time, e.Time, time.Millisecond)
	first, err := json.Marshal(data)
	require.NoError(t, err)
	second, err := json.Marshal(same)
	require.NoError(t, err)
	require.JSONEq(t, string(first), string(second))
}

// secrets returns the texts of a body that could not be in an error by chance.
func secrets(body []byte) (found []string) {
	var e struct {
		Payload struct {
			Data map[string]any `json:"data"`
		} `json:"payload"`
	}
	_ = json.Unmarshal(body, &e)
	for _, value := range e.Payload.Data {
		if text, ok := value.(string); ok && len(text) >= 6 && strings.ContainsAny(text, "0123456789@") {
			found = append(found, text)
		}
	}
	return found
}

// An id that is accepted is the same everywhere it goes.
func FuzzID(f *testing.F) {
	for _, seed := range []string{
		"evt_0190f3a1-0000-7000-8000-000000000001", "", "a:b", "a\x00b", "a\u009bb", "a\xff", "\ufffd", strings.Repeat("x", 255), strings.Repeat("x", 256), "\u202e", "😀",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		partErr := event.CheckPartID(id)
		err := event.CheckID(id)
		require.Equal(t, err != nil || strings.Contains(id, ":"), partErr != nil)
		if err != nil {
			if len(id) > 4 {
				require.NotContains(t, err.Error(), id)
			}
			return
		}
		body, err := json.Marshal(map[string]string{"event_id": id})
		require.NoError(t, err)
		require.True(t, verbatim.JSON(body))
		require.Equal(t, id, event.BodyID(body))
		require.NoError(t, event.Message{ID: id}.Check(event.MinFrame))
		require.True(t, utf8.ValidString(id))
		require.NotContains(t, id, "\x00", "PostgreSQL stores none")
	})
}

// Headers of ours on a message that others have sent cannot keep it from ending.
func FuzzRetry(f *testing.F) {
	f.Add("1", "2", when.Format(time.RFC3339Nano), 1)
	f.Add(strconv.Itoa(math.MaxInt), strconv.Itoa(math.MaxInt), "9999-12-31T23:59:59-14:00", 3)
	f.Add("-1", "1e3", "0000-01-01T00:00:00Z", -5)
	f.Add("99999999999999999999", "0x1", "0001-01-01T00:00:00Z", math.MaxInt)
	policy := event.Policy{Levels: []time.Duration{time.Second, time.Minute, time.Hour}, GiveUpAfter: 24 * time.Hour}
	failure := errors.New("no server")
	f.Fuzz(func(t *testing.T, attempts, moves, first string, handedOut int) {
		d := event.Delivery{Message: event.Message{ID: "evt_1", RoutingKey: "key", Headers: map[string]string{
			event.HeaderAttempts: attempts, event.HeaderMoves: moves, event.HeaderFirstFailed: first,
		}}, HandedOut: handedOut}
		for range 3 {
			before := d.Message
			decision := event.Decide(failure, d, policy, false, when)
			require.Equal(t, event.Retry, decision.Action)
			require.True(t, decision.Level >= 0 && decision.Level < len(policy.Levels))
			d.Message = d.Moved("queue", decision.Headers)
			require.GreaterOrEqual(t, d.Attempts(), max(1, before.Attempts()))
			require.GreaterOrEqual(t, d.Moves(), max(1, before.Moves()))
			require.False(t, d.FirstFailed().IsZero(), "its clock runs")
			require.False(t, d.FirstFailed().After(when), "its clock runs")
			d.Message = d.Arrived()
			require.Equal(t, "key", d.RoutingKey)
		}
		dead := event.Decide(event.Permanent(event.ReasonInvalid, failure), d, policy, false, when)
		require.Equal(t, event.Dead, dead.Action)
	})
}
