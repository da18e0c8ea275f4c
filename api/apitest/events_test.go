package apitest

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/smap-platform/identity/api"
	"github.com/smap-platform/identity/internal/event"
)

// examples returns the message of every key that asyncapi.yaml shows.
func examples(t *testing.T) map[string]event.Message {
	t.Helper()
	var document struct {
		Components struct {
			Messages map[string]struct {
				Examples []struct{ Payload map[string]any }
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(api.AsyncAPI, &document))
	messages := map[string]event.Message{}
	for key, m := range document.Components.Messages {
		body, err := json.Marshal(m.Examples[0].Payload)
		require.NoError(t, err)
		id, _ := m.Examples[0].Payload["event_id"].(string)
		messages[key] = event.Message{ID: id, RoutingKey: key, ContentType: "application/json", Body: body}
	}
	return messages
}

// optional has the fields that an example may lack: of another service's event only what is needed is required.
var optional = map[string][]string{"project.created": {
	"timestamp", "brand_name", "brand_keywords", "competitor_names", "competitor_keywords_map", "date_range",
}}

func TestEvents(t *testing.T) {
	t.Parallel()
	// The examples of this service's own events have no optional field.
	t.Run("requires every field", func(t *testing.T) {
		t.Parallel()
		events := NewEvents(t)
		messages := examples(t)
		require.Equal(t, events.Keys(), slices.Sorted(maps.Keys(messages)))
		for key, m := range messages {
			require.NoError(t, events.check(m), key)
			for _, path := range [][]string{{}, {"payload"}, {"payload", "data"}} {
				if key == "project.created" && len(path) == 2 {
					continue // it is flat: there is no data
				}
				var names []string
				changed(t, m.Body, path, func(node map[string]any) { names = slices.Collect(maps.Keys(node)) })
				for _, name := range names {
					poorer := m
					poorer.Body = changed(t, m.Body, path, func(node map[string]any) { delete(node, name) })
					if slices.Contains(optional[key], name) {
						require.NoError(t, events.check(poorer), "%s without %s", key, name)
						continue
					}
					require.ErrorContains(t, events.check(poorer), "missing propert", "%s without %s", key, name)
				}
			}
		}
	})

	t.Run("refuses what breaks the contract", func(t *testing.T) {
		t.Parallel()
		events := NewEvents(t)
		set := func(field string, value any) func(*event.Message) {
			return func(m *event.Message) {
				m.Body = changed(t, m.Body, []string{"payload", "data"}, func(node map[string]any) { node[field] = value })
			}
		}
		for name, tc := range map[string]struct {
			key    string
			change func(m *event.Message)
			want   string
		}{
			"a key without a schema": {"email.verification.requested", func(m *event.Message) { m.RoutingKey = "email.other" }, "no schema"},
			"another event's body":   {"subscription.created", func(m *event.Message) { m.RoutingKey = "subscription.cancelled" }, "value must be"},
			"not JSON":               {"subscription.created", func(m *event.Message) { m.Body = []byte("{") }, "not JSON"},
			"an unknown field":       {"subscription.created", set("colour", "red"), "colour"},
			"five digits":            {"email.verification.requested", set("otp_code", "42017"), "pattern"},
			"an unknown locale":      {"email.verification.requested", set("locale", "ja"), "one of"},
			"not UTC":                {"email.verification.requested", set("expires_at", "2026-01-31T09:40:00+07:00"), "pattern"},
			"no address":             {"email.verification.requested", set("recipient", "an"), "email"},
			"version 0":              {"subscription.created", set("version", 0), "minimum"},
			"an unknown status":      {"subscription.created", set("status", "paused"), "one of"},
			"an empty reason":        {"subscription.cancelled", set("cancellation_reason", ""), "minLength"},
			"a token of 21":          {"invitation.requested", set("token", "q7vR2mXc0sYt4Kd8_w-Za"), "pattern"},
			"a token for no URL":     {"invitation.requested", set("token", "q7vR2mXc0sYt4Kd8/w+Za=="), "pattern"},
			"errors below 0":         {"email.project_completed.requested", set("errors", -1), "minimum"},
			"nothing done":           {"job.completed", set("done", 0), "minimum"},
			"half an item":           {"job.completed", set("total", 1.5), "integer"},
			"another message id":     {"subscription.created", func(m *event.Message) { m.ID = "evt_x" }, "message's id"},
			"another content type":   {"subscription.created", func(m *event.Message) { m.ContentType = "text/plain" }, "content type"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := examples(t)[tc.key]
				tc.change(&m)
				require.ErrorContains(t, events.check(m), tc.want)
			})
		}
	})

	// TestReadersMayMeetNewFields: only the producer is held to the described fields.
	t.Run("lets readers meet new fields", func(t *testing.T) {
		t.Parallel()
		for _, key := range NewEvents(t).Keys() {
			schema, err := api.Schemas.ReadFile("schemas/" + key + ".json")
			require.NoError(t, err)
			require.NotContains(t, string(schema), "additionalProperties", key)
		}
	})
}

// changed returns body with change applied to the object at path.
func changed(t *testing.T, body []byte, path []string, change func(node map[string]any)) []byte {
	t.Helper()
	var root map[string]any
	require.NoError(t, json.Unmarshal(body, &root))
	node := root
	for _, step := range path {
		node = node[step].(map[string]any)
	}
	change(node)
	out, err := json.Marshal(root)
	require.NoError(t, err)
	return out
}
