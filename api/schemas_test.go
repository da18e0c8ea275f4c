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
)

var (
	now  = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	then = now.Add(14 * 24 * time.Hour)
)

// payloads are representative ones of every key: with everything, and with all that may be missing left out.
var payloads = map[event.RoutingKey]map[string]event.Payload{
	event.EmailVerificationRequested: {
		"code": event.VerificationRequested{
			UserID: userID, Recipient: "an+x@example.com", OTPCode: "042017", Locale: "vi", ExpiresAt: now.Add(10 * time.Minute),
		},
		"whole second": event.VerificationRequested{
			UserID: userID, Recipient: "an@example.com", OTPCode: "000000", Locale: "en", ExpiresAt: now.Truncate(time.Second),
		},
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

func encode(t *testing.T, key event.RoutingKey, data event.Payload) event.Message {
	t.Helper()
	m, err := event.Encode(event.Event{ID: event.NewID(), Key: key, Time: now, Data: data})
	require.NoError(t, err)
	return m
}

func TestEventsFollowTheirSchemas(t *testing.T) {
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
	require.ElementsMatch(t, keys, events.Keys(), "one schema per key, and one representative payload at least")
}

func TestAsyncAPIKnowsEveryKey(t *testing.T) {
	t.Parallel()
	document := asyncAPI(t)
	keys := apitest.NewEvents(t).Keys()
	channel := document.Channels[event.Exchange]
	require.Equal(t, event.Exchange, channel.Bindings.AMQP.Exchange.Name)
	require.ElementsMatch(t, keys, channel.Parameters["routingKey"].Enum)
	require.ElementsMatch(t, keys, slices.Collect(maps.Keys(channel.Messages)))
	require.ElementsMatch(t, keys, slices.Collect(maps.Keys(document.Components.Messages)))

	received := map[string]bool{}
	for name, operation := range document.Operations {
		for _, message := range operation.Messages {
			key, ok := strings.CutPrefix(message.Ref, "#/channels/smap.events/messages/")
			require.True(t, ok, "%s refers to %s", name, message.Ref)
			require.Contains(t, channel.Messages, key)
			received[key] = received[key] || operation.Action == "receive"
		}
	}
	for _, key := range keys {
		require.True(t, received[key], "our own consumer handles %s", key)
	}
}

func TestAsyncAPIExamplesFollowTheSchemas(t *testing.T) {
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
}

// TestTheRegistryIsComplete: docs/events.md is written by hand, so at least every word of the vocabulary is in it.
func TestTheRegistryIsComplete(t *testing.T) {
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
}

// TestTheGuideShowsTheExamples: what docs/migration-guide.md shows to the authors of other services is what is compiled.
func TestTheGuideShowsTheExamples(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/migration-guide.md")
	require.NoError(t, err)
	for language, path := range map[string]string{"go": "main.go", "python": "consumer.py"} {
		example, err := os.ReadFile("../docs/examples/consumer/" + path)
		require.NoError(t, err)
		require.Contains(t, string(guide), "```"+language+"\n"+string(example)+"```\n")
	}
}

// reference is `$ref: …`.
type reference struct {
	Ref string `yaml:"$ref"`
}

// asyncAPIDocument is what the tests look at.
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
