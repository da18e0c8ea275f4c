package api_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/smap-platform/identity/api"
	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/internal/event"
)

const (
	userID         = "019c1000-0000-7000-8000-000000000001"
	subscriptionID = "019c1000-0000-7000-8000-00000000abcd"
	projectID      = "proj_019c1000-0000-7000-8000-00000000beef"
)

var (
	now  = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	then = now.Add(14 * 24 * time.Hour)
)

// payloads has representative ones of every key that this service publishes: complete, and without what is optional.
var payloads = map[event.RoutingKey]map[string]event.Payload{
	event.EmailVerificationRequested: {
		"code": event.VerificationRequested{
			UserID: userID, Recipient: "an+x@example.com", OTPCode: "042017", Locale: "vi", ExpiresAt: now.Add(10 * time.Minute),
		},
		"whole second": event.VerificationRequested{
			UserID: userID, Recipient: "an@example.com", OTPCode: "000000", Locale: "en", ExpiresAt: now.Truncate(time.Second),
		},
	},
	event.EmailPasswordResetRequested: {
		"code": event.PasswordResetRequested{
			UserID: userID, Recipient: "an+x@example.com", OTPCode: "042017", Locale: "vi", ExpiresAt: now.Add(10 * time.Minute),
		},
	},
	event.EmailAccountExistsRequested: {
		"notice": event.AccountExistsMail{UserID: userID, Recipient: "an+x@example.com", Locale: "vi"},
	},
	event.EmailSecurityNoticeRequested: {
		"changed":  event.SecurityNotice{UserID: userID, Recipient: "an+x@example.com", Locale: "vi", Kind: event.NoticePasswordChanged, OccurredAt: now},
		"disabled": event.SecurityNotice{UserID: userID, Recipient: "an@example.com", Locale: "en", Kind: event.NoticeAccountDisabled, OccurredAt: now},
		"deleted":  event.SecurityNotice{UserID: userID, Recipient: "an@example.com", Locale: "vi", Kind: event.NoticeAccountDeleted, OccurredAt: now},
		"reset":    event.SecurityNotice{UserID: userID, Recipient: "an@example.com", Locale: "en", Kind: event.NoticePasswordReset, OccurredAt: now.Truncate(time.Second)},
	},
	event.UserVerified: {"verified": event.UserVerifiedData{UserID: userID, OccurredAt: now}},
	event.UserDisabled: {"disabled": event.UserDisabledData{UserID: userID, OccurredAt: now}},
	event.UserEnabled:  {"enabled": event.UserEnabledData{UserID: userID, OccurredAt: now}},
	event.UserDeleted:  {"deleted": event.UserDeletedData{UserID: userID, OccurredAt: now, EraseAt: then}},
	event.InvitationRequested: {
		"invitation": event.InvitationMail{
			UserID: userID, Recipient: "an+x@example.com", Token: "q7vR2mXc0sYt4Kd8_w-Zaa", Locale: "vi", ExpiresAt: then,
		},
	},
	event.EmailProjectCompletedRequested: {
		"all sent":    event.ProjectCompletedMail{Recipient: "an@example.com", Locale: "vi", ProjectID: projectID, Total: 1, Done: 1},
		"some failed": event.ProjectCompletedMail{Recipient: "an@example.com", Locale: "en", ProjectID: projectID, Total: 100_000, Done: 100_000, Errors: 7},
	},
	event.EmailTrialEndingRequested: {
		"three days": event.TrialEndingMail{
			UserID: userID, Recipient: "an+x@example.com", Locale: "vi", PlanCode: "free", TrialEnd: then, DaysLeft: 3,
		},
		"one day": event.TrialEndingMail{
			UserID: userID, Recipient: "an@example.com", Locale: "en", PlanCode: "free", TrialEnd: then.Truncate(time.Second), DaysLeft: 1,
		},
	},
	event.JobCompleted: {
		"owner known": event.JobCompletedData{ProjectID: projectID, UserID: userID, Total: 3, Done: 3, Errors: 1, CompletedAt: now},
		"not known":   event.JobCompletedData{ProjectID: projectID, Total: 3, Done: 4, CompletedAt: now.Truncate(time.Second)},
	},
	event.SubscriptionCreated: {
		"trial": event.SubscriptionCreatedData{
			Version: 1, SubscriptionID: subscriptionID, UserID: userID, PlanCode: "free", Status: "trialing",
			EffectiveUntil: &then, TrialStart: &now, TrialEnd: &then, CreatedAt: now,
		},
		"paid": event.SubscriptionCreatedData{
			Version: 2, SubscriptionID: subscriptionID, UserID: userID, PlanCode: "pro", Status: "active",
			EffectiveUntil: &then, SubscriptionStart: &now, SubscriptionEnd: &then, CreatedAt: now,
		},
		"open-ended": event.SubscriptionCreatedData{
			Version: 1 << 40, SubscriptionID: subscriptionID, UserID: userID, PlanCode: "pro", Status: "active",
			SubscriptionStart: &now, CreatedAt: now,
		},
	},
	event.SubscriptionCancelled: {
		"by the user": event.SubscriptionCancelledData{
			Version: 2, SubscriptionID: subscriptionID, UserID: userID, PlanCode: "free", PreviousStatus: "trialing",
			NewStatus: "cancelled", CancelledAt: now, CancellationReason: "quá đắt & <chậm>", EffectiveUntil: &then,
		},
		"by an administrator": event.SubscriptionCancelledData{
			Version: 2, SubscriptionID: subscriptionID, UserID: userID, PlanCode: "pro", PreviousStatus: "past_due",
			NewStatus: "cancelled", CancelledAt: now, CancellationReason: "admin_action", AdminUserID: subscriptionID,
		},
		"by time": event.SubscriptionCancelledData{
			Version: 2, SubscriptionID: subscriptionID, UserID: userID, PlanCode: "free", PreviousStatus: "trialing",
			NewStatus: "expired", CancelledAt: now, CancellationReason: "trial_expired", EffectiveUntil: &now,
		},
	},
	event.SubscriptionStatusChanged: {
		"upgraded": event.SubscriptionStatusChangedData{
			Version: 3, SubscriptionID: subscriptionID, UserID: userID, PlanCode: "pro", PreviousStatus: "trialing",
			NewStatus: "active", TransitionReason: "upgraded",
		},
		"overdue": event.SubscriptionStatusChangedData{
			Version: 4, SubscriptionID: subscriptionID, UserID: userID, PlanCode: "pro", PreviousStatus: "active",
			NewStatus: "past_due", EffectiveUntil: &then, TransitionReason: "payment_failed",
		},
	},
}

// ofProjects has the keys of events that belong to a project.
var ofProjects = map[event.RoutingKey]bool{
	event.InvitationRequested: true, event.EmailProjectCompletedRequested: true, event.JobCompleted: true,
}

// heard has representative bodies of keys that other services publish.
var heard = map[event.RoutingKey]map[string]string{
	event.ProjectCreated: {
		"whole": `{"event_id":"7f6c2f2e-1d3b-4d0e-9a3b-1f2e3d4c5b6a","timestamp":"2026-01-31T09:30:00+07:00","payload":{
			"project_id":"p1","user_id":"u1","brand_name":"Acme","brand_keywords":["acme"],"competitor_names":["Other"],
			"competitor_keywords_map":{"Other":["other"]},"date_range":{"from":"2026-01-01","to":"2026-01-31"}}}`,
		"empty lists": `{"event_id":"7f6c2f2e-1d3b-4d0e-9a3b-1f2e3d4c5b6a","timestamp":"2026-01-31T09:30:00Z","payload":{
			"project_id":"p1","user_id":"u1","brand_name":"","brand_keywords":null,"competitor_names":null,
			"competitor_keywords_map":null,"date_range":{"from":"2026-01-01","to":"2026-01-31"}}}`,
		"what is needed": `{"event_id":"evt_1","payload":{"project_id":"p1","user_id":"u1"}}`,
	},
}

func encode(t *testing.T, key event.RoutingKey, data event.Payload) event.Message {
	t.Helper()
	e := event.Event{ID: event.NewID(), Key: key, Time: now, Data: data}
	if ofProjects[key] {
		e.ProjectID = projectID
	}
	m, err := event.Encode(e)
	require.NoError(t, err)
	return m
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	t.Run("describe every event that is published", func(t *testing.T) {
		t.Parallel()
		events := apitest.NewEvents(t)
		var keys []string
		for key, named := range payloads {
			keys = append(keys, string(key))
			for name, data := range named {
				t.Run(string(key)+"/"+name, func(t *testing.T) {
					t.Parallel()
					events.Check(t, encode(t, key, data))
				})
			}
		}
		for key := range heard {
			keys = append(keys, string(key))
		}
		require.ElementsMatch(t, keys, events.Keys(), "one schema per key, and at least one representative payload")
	})

	// A body that follows the schema is one that the handler can read.
	t.Run("describe what a handler can read", func(t *testing.T) {
		t.Parallel()
		events := apitest.NewEvents(t)
		for name, body := range heard[event.ProjectCreated] {
			m := event.Message{RoutingKey: string(event.ProjectCreated), ContentType: "application/json", Body: []byte(body)}
			received, data, err := event.Decode[event.ProjectCreatedData](m)
			require.NoError(t, err, name)
			require.NoError(t, data.Validate(), name)
			require.Equal(t, event.ProjectCreatedData{ProjectID: "p1", UserID: "u1"}, data, name)
			m.ID = received.ID
			events.Check(t, m)
		}
	})
}

func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	t.Run("knows every key", func(t *testing.T) {
		t.Parallel()
		document := asyncAPI(t)
		keys := apitest.NewEvents(t).Keys()
		channel := document.Channels[event.Exchange]
		require.Equal(t, event.Exchange, channel.Bindings.AMQP.Exchange.Name)
		require.ElementsMatch(t, keys, channel.Parameters["routingKey"].Enum)
		require.ElementsMatch(t, keys, slices.Collect(maps.Keys(channel.Messages)))
		require.ElementsMatch(t, keys, slices.Collect(maps.Keys(document.Components.Messages)))

		received, sent := map[string]bool{}, map[string]bool{}
		for name, operation := range document.Operations {
			for _, message := range operation.Messages {
				key, ok := strings.CutPrefix(message.Ref, "#/channels/smap.events/messages/")
				require.True(t, ok, "%s refers to %s", name, message.Ref)
				require.Contains(t, channel.Messages, key)
				received[key] = received[key] || operation.Action == "receive"
				if operation.Action == "send" {
					sent[key] = true
					require.Equal(t, event.RoutingKey(key).Mandatory(), operation.Bindings.AMQP.Mandatory, key)
				}
			}
		}
		for _, key := range keys {
			require.Equal(t, event.RoutingKey(key).Mandatory(), received[key], "a mandatory key has a queue of this service: %s", key)
			require.False(t, sent[key] && heard[event.RoutingKey(key)] != nil, "other services publish %s", key)
		}
	})

	t.Run("has examples that follow the schemas", func(t *testing.T) {
		t.Parallel()
		events := apitest.NewEvents(t)
		for key, message := range asyncAPI(t).Components.Messages {
			require.Equal(t, "schemas/"+key+".json", message.Payload.Ref)
			_, err := fs.Stat(api.Schemas, message.Payload.Ref)
			require.NoError(t, err)
			require.Equal(t, key, message.Bindings.AMQP.MessageType)
			require.NotEmpty(t, message.Examples, key)
			for _, example := range message.Examples {
				body, err := json.Marshal(example.Payload)
				require.NoError(t, err)
				id, _ := example.Payload["event_id"].(string)
				events.Check(t, event.Message{ID: id, RoutingKey: key, ContentType: "application/json", Body: body})
			}
		}
	})
}

func TestDocs(t *testing.T) {
	t.Parallel()
	// docs/events.md is written by hand, so at least every word of the vocabulary must be in it.
	t.Run("events.md has the whole vocabulary", func(t *testing.T) {
		t.Parallel()
		document, err := os.ReadFile("../docs/events.md")
		require.NoError(t, err)
		words := apitest.NewEvents(t).Keys()
		words = append(words, event.ReasonUnreadable, event.ReasonInvalid, event.ReasonUnknownKey, event.ReasonRejected,
			event.ReasonAmbiguous, event.ReasonExhausted, event.ReasonCrashLoop,
			event.DropDuplicate, event.DropExpired, event.DropSuperseded, event.DropStale,
			event.HeaderTraceparent, event.HeaderRoutingKey, event.HeaderAttempts, event.HeaderMoves, event.HeaderFirstFailed,
			event.HeaderError, event.HeaderDeadReason, event.HeaderDeadAt)
		for _, word := range words {
			require.Contains(t, string(document), "`"+word+"`")
		}
	})
}

// reference is `$ref: …`.
type reference struct {
	Ref string `yaml:"$ref"`
}

// asyncAPIDocument is the part of the document that the tests read.
type asyncAPIDocument struct {
	Channels map[string]struct {
		Parameters map[string]struct{ Enum []string }
		Messages   map[string]reference
		Bindings   struct {
			AMQP struct{ Exchange struct{ Name string } } `yaml:"amqp"`
		}
	}
	Operations map[string]struct {
		Action   string
		Messages []reference
		Bindings struct {
			AMQP struct{ Mandatory bool } `yaml:"amqp"`
		}
	}
	Components struct {
		Messages map[string]struct {
			Payload  reference
			Examples []struct{ Payload map[string]any }
			Bindings struct {
				AMQP struct {
					MessageType string `yaml:"messageType"`
				} `yaml:"amqp"`
			}
		}
	}
}

func asyncAPI(t *testing.T) (document asyncAPIDocument) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal(api.AsyncAPI, &document))
	return document
}
