package event_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

var when = time.Date(2026, 1, 31, 16, 30, 0, 123_456_789, time.FixedZone("ICT", 7*3600))

func verification() event.Event {
	return event.Event{
		ID: "evt_0190f3a1-0000-7000-8000-000000000001", Key: event.EmailVerificationRequested, Time: when,
		Data: event.VerificationRequested{
			UserID: "u1", Recipient: "ann+<b>@example.com", OTPCode: "012345", Locale: "vi", ExpiresAt: when.Add(10 * time.Minute).UTC(),
		},
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	// The wire as docs/events.md has it: neighbours parse exactly this.
	t.Run("the bytes are the golden ones", func(t *testing.T) {
		t.Parallel()
		m, err := event.Encode(verification())
		require.NoError(t, err)
		require.Equal(t, `{"event_id":"evt_0190f3a1-0000-7000-8000-000000000001","timestamp":"2026-01-31T09:30:00.123Z",`+
			`"payload":{"service":"identity","action":"verification.requested","data":{"user_id":"u1",`+
			`"recipient":"ann+<b>@example.com","otp_code":"012345","locale":"vi","expires_at":"2026-01-31T09:40:00.123456789Z"}}}`,
			string(m.Body))
		require.Equal(t, "smap.events", m.Exchange)
		require.Equal(t, "email.verification.requested", m.RoutingKey)
		require.Equal(t, "application/json", m.ContentType)
		require.Equal(t, "evt_0190f3a1-0000-7000-8000-000000000001", m.ID)
		require.Equal(t, time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC), m.Timestamp, "AMQP knows whole seconds")
		require.True(t, m.Mandatory)
		require.NotNil(t, m.Headers, "a tracer writes into it")
	})
	t.Run("an event of a project carries its id", func(t *testing.T) {
		t.Parallel()
		m, err := event.Encode(event.Event{
			ID: "evt_1", Key: event.SubscriptionCancelled, Time: when.Truncate(time.Second), ProjectID: "proj_1",
			Data: event.SubscriptionCancelledData{
				Version: 2, SubscriptionID: "s1", UserID: "u1", PlanCode: "free", PreviousStatus: "trialing",
				NewStatus: "cancelled", CancelledAt: when.UTC().Truncate(time.Second), CancellationReason: "too dear",
			},
		})
		require.NoError(t, err)
		require.Equal(t, `{"event_id":"evt_1","timestamp":"2026-01-31T09:30:00.000Z","payload":{"project_id":"proj_1",`+
			`"service":"identity","action":"cancelled","data":{"version":2,"subscription_id":"s1","user_id":"u1",`+
			`"plan_code":"free","previous_status":"trialing","new_status":"cancelled","cancelled_at":"2026-01-31T09:30:00Z",`+
			`"cancellation_reason":"too dear","effective_until":null}}}`, string(m.Body))
	})
	t.Run("refuses what a reader could not use", func(t *testing.T) {
		t.Parallel()
		for name, spoil := range map[string]func(*event.Event){
			"no id":     func(e *event.Event) { e.ID = "" },
			"no key":    func(e *event.Event) { e.Key = "" },
			"no data":   func(e *event.Event) { e.Data = nil },
			"data lack": func(e *event.Event) { e.Data = event.VerificationRequested{UserID: "u1"} },
		} {
			e := verification()
			spoil(&e)
			_, err := event.Encode(e)
			require.Error(t, err, name)
		}
	})
	t.Run("the largest body is 256 KiB", func(t *testing.T) {
		t.Parallel()
		sized := func(n int) event.Event {
			return event.Event{ID: "evt_1", Key: "a.b", Time: when, Data: text{Text: strings.Repeat("x", n)}}
		}
		empty, err := event.Encode(sized(0))
		require.NoError(t, err)
		room := event.MaxBody - len(empty.Body)
		full, err := event.Encode(sized(room))
		require.NoError(t, err)
		require.Len(t, full.Body, event.MaxBody)
		_, err = event.Encode(sized(room + 1))
		require.ErrorIs(t, err, event.ErrTooLarge)
		require.NotContains(t, err.Error(), "xxx")
	})
}

// text is a payload of any length.
type text struct {
	Text string `json:"text"`
}

func (text) Validate() error { return nil }

func TestDecode(t *testing.T) {
	t.Parallel()
	t.Run("reads what Encode writes", func(t *testing.T) {
		t.Parallel()
		e := verification()
		m, err := event.Encode(e)
		require.NoError(t, err)
		r, data, err := event.Decode[event.VerificationRequested](m)
		require.NoError(t, err)
		require.Equal(t, e.Data, data)
		require.Equal(t, e.ID, r.ID)
		require.Equal(t, e.Key, r.Key)
		require.Equal(t, e.Time.UTC().Truncate(time.Millisecond), r.Time)
		require.Empty(t, r.ProjectID)
	})
	// Envelopes of the neighbours (docs/events.md) and of releases to come.
	t.Run("tolerates foreign envelopes", func(t *testing.T) {
		t.Parallel()
		type project struct {
			text
			ProjectID string `json:"project_id"`
			UserID    string `json:"user_id"`
		}
		for name, c := range map[string]struct {
			body    string
			id      string
			at      time.Time
			project string
			data    project
		}{
			"flat payload, plain uuid, null arrays": {
				body: `{"event_id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","timestamp":"2026-01-31T16:30:00+07:00","payload":` +
					`{"project_id":"p1","user_id":"u1","brand_keywords":null,"date_range":{"from":"2026-01-01","to":"2026-01-31"}}}`,
				id: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", at: when.UTC().Truncate(time.Second), project: "p1",
				data: project{ProjectID: "p1", UserID: "u1"},
			},
			"data null": {
				body: `{"event_id":"e","payload":{"project_id":"p1","user_id":"u1","data":null}}`,
				id:   "e", project: "p1", data: project{ProjectID: "p1", UserID: "u1"},
			},
			"data wins over the flat fields": {
				body: `{"event_id":"e","payload":{"user_id":"outer","data":{"user_id":"inner"}}}`,
				id:   "e", data: project{UserID: "inner"},
			},
			"unknown fields everywhere": {
				body: `{"event_id":"evt_abcdefabcdef","event_type":"data.collected","x":[1],"payload":{"y":{},"data":{"z":1,"user_id":"u1"}}}`,
				id:   "evt_abcdefabcdef", data: project{UserID: "u1"},
			},
			"a timestamp nobody can read": {
				body: `{"event_id":"e","timestamp":"yesterday","payload":{"data":{"user_id":"u1"}}}`,
				id:   "e", data: project{UserID: "u1"},
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				called := false
				router := event.NewRouter()
				router.On("project.created", event.Handle(func(_ context.Context, r event.Received, data project) error {
					called = true
					require.Equal(t, c.id, r.ID)
					require.Equal(t, c.project, r.ProjectID)
					require.True(t, c.at.Equal(r.Time), "%s", r.Time)
					require.Equal(t, c.data, data)
					return nil
				}))
				require.NoError(t, router.Dispatch(context.Background(), event.Delivery{Message: event.Message{
					RoutingKey: "project.created", Body: []byte(c.body),
				}}))
				require.True(t, called)
			})
		}
	})
	t.Run("poison is permanent and its error quotes nothing", func(t *testing.T) {
		t.Parallel()
		router := event.NewRouter()
		router.On("email.verification.requested", event.Handle(
			func(context.Context, event.Received, event.VerificationRequested) error { panic("must not be called") }))
		for name, c := range map[string]struct{ key, body, reason string }{
			"unknown key":        {"email.unknown", `{"event_id":"e","payload":{}}`, event.ReasonUnknownKey},
			"empty":              {"email.verification.requested", ``, event.ReasonUnreadable},
			"not json":           {"email.verification.requested", `<otp>987654</otp>`, event.ReasonUnreadable},
			"Latin-1":            {"email.verification.requested", "{\"event_id\":\"evt_1\",\"payload\":{\"data\":{\"user_id\":\"u\",\"recipient\":\"a\xe4@example.com\",\"otp_code\":\"987654\",\"locale\":\"en\",\"expires_at\":\"2026-01-31T09:40:00Z\"}}}", event.ReasonInvalid},
			"half a surrogate":   {"email.verification.requested", `{"event_id":"evt_1","payload":{"data":{"user_id":"u","recipient":"a\udc00@example.com","otp_code":"987654","locale":"en","expires_at":"2026-01-31T09:40:00Z"}}}`, event.ReasonInvalid},
			"a list":             {"email.verification.requested", `["987654"]`, event.ReasonUnreadable},
			"null":               {"email.verification.requested", `null`, event.ReasonInvalid},
			"no event id":        {"email.verification.requested", `{"payload":{"data":{"otp_code":"987654"}}}`, event.ReasonInvalid},
			"no payload":         {"email.verification.requested", `{"event_id":"e"}`, event.ReasonInvalid},
			"payload null":       {"email.verification.requested", `{"event_id":"e","payload":null}`, event.ReasonInvalid},
			"payload of no use":  {"email.verification.requested", `{"event_id":"e","payload":"987654"}`, event.ReasonInvalid},
			"wrong type":         {"email.verification.requested", `{"event_id":"e","payload":{"data":{"otp_code":987654}}}`, event.ReasonInvalid},
			"an expiry of words": {"email.verification.requested", `{"event_id":"e","payload":{"data":{"expires_at":"987654"}}}`, event.ReasonInvalid},
			"missing field":      {"email.verification.requested", `{"event_id":"e","payload":{"data":{"user_id":"u","otp_code":"987654"}}}`, event.ReasonInvalid},
		} {
			err := router.Dispatch(context.Background(), event.Delivery{Message: event.Message{RoutingKey: c.key, Body: []byte(c.body)}})
			require.Error(t, err, name)
			require.NotContains(t, err.Error(), "987654", name)
			d := event.Decide(err, event.Delivery{}, event.Policy{}, false, when)
			require.Equal(t, event.Dead, d.Action, name)
			require.Equal(t, c.reason, d.Outcome, name)
		}
	})
}

func TestPayload(t *testing.T) {
	t.Parallel()
	t.Run("names what it lacks", func(t *testing.T) {
		t.Parallel()
		whole := map[string]struct {
			data event.Payload
			lack []string
		}{
			"verification": {verification().Data, []string{"user_id", "recipient", "otp_code", "expires_at"}},
			"created": {event.SubscriptionCreatedData{
				Version: 1, SubscriptionID: "s", UserID: "u", PlanCode: "free", Status: "trialing",
			}, []string{"version", "subscription_id", "user_id", "plan_code", "status"}},
			"cancelled": {event.SubscriptionCancelledData{
				Version: 1, SubscriptionID: "s", UserID: "u", PlanCode: "free", NewStatus: "cancelled",
			}, []string{"version", "subscription_id", "user_id", "plan_code", "new_status"}},
			"status changed": {event.SubscriptionStatusChangedData{
				Version: 1, SubscriptionID: "s", UserID: "u", PlanCode: "free", NewStatus: "active",
			}, []string{"version", "subscription_id", "user_id", "plan_code", "new_status"}},
		}
		for name, c := range whole {
			require.NoError(t, c.data.Validate(), name)
			for _, field := range c.lack {
				err := without(t, c.data, field).Validate()
				require.ErrorContains(t, err, "data lacks "+field, name)
			}
		}
	})
}

// without returns data as it is read from JSON that lacks one field.
func without(t *testing.T, data event.Payload, field string) event.Payload {
	t.Helper()
	body, err := json.Marshal(data)
	require.NoError(t, err)
	fields := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal(body, &fields))
	require.Contains(t, fields, field)
	delete(fields, field)
	body, err = json.Marshal(fields)
	require.NoError(t, err)
	switch data.(type) {
	case event.VerificationRequested:
		return read[event.VerificationRequested](t, body)
	case event.SubscriptionCreatedData:
		return read[event.SubscriptionCreatedData](t, body)
	case event.SubscriptionCancelledData:
		return read[event.SubscriptionCancelledData](t, body)
	default:
		return read[event.SubscriptionStatusChangedData](t, body)
	}
}

func read[T event.Payload](t *testing.T, body []byte) event.Payload {
	t.Helper()
	var data T
	require.NoError(t, json.Unmarshal(body, &data))
	return data
}

func TestRoutingKey(t *testing.T) {
	t.Parallel()
	t.Run("actions, sealed keys and mandatory keys", func(t *testing.T) {
		t.Parallel()
		require.True(t, event.EmailVerificationRequested.AsksForMail())
		require.True(t, event.InvitationRequested.AsksForMail())
		require.False(t, event.SubscriptionCreated.AsksForMail())
		require.False(t, event.RoutingKey("emails.x").AsksForMail())
		require.Equal(t, "verification.requested", event.EmailVerificationRequested.Action())
		require.Equal(t, "status_changed", event.SubscriptionStatusChanged.Action())
		require.Empty(t, event.RoutingKey("lonely").Action())
	})
}

func TestNewID(t *testing.T) {
	t.Parallel()
	t.Run("ids are unique and rise", func(t *testing.T) {
		t.Parallel()
		a, b := event.NewID(), event.NewID()
		require.Regexp(t, `^evt_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, a)
		require.NotEqual(t, a, b)
	})
}
