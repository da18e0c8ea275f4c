package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api"
	"github.com/smap-platform/identity/internal/event"
)

// Events checks messages against api/schemas. Safe for concurrent use.
type Events struct{ published map[string]*jsonschema.Schema }

// NewEvents ends the test when a schema cannot be compiled.
//
// Readers are given schemas that allow unknown fields, so that a newer event passes an older schema. A producer has no
// such excuse: here every field must be a described one.
func NewEvents(t testing.TB) *Events {
	t.Helper()
	files, err := fs.Glob(api.Schemas, "schemas/*.json")
	require.NoError(t, err)
	events := &Events{map[string]*jsonschema.Schema{}}
	for _, file := range files {
		source, err := api.Schemas.ReadFile(file)
		require.NoError(t, err)
		events.published[strings.TrimSuffix(path.Base(file), ".json")] = compile(t, file, source)
	}
	return events
}

func compile(t testing.TB, name string, source []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(source))
	require.NoError(t, err, name)
	forbidUnknownFields(document)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource(name, document))
	schema, err := compiler.Compile(name)
	require.NoError(t, err, name)
	return schema
}

func forbidUnknownFields(node any) {
	switch node := node.(type) {
	case map[string]any:
		for _, child := range node {
			forbidUnknownFields(child)
		}
		if _, closed := node["additionalProperties"]; node["properties"] != nil && !closed {
			node["additionalProperties"] = false
		}
	case []any:
		for _, child := range node {
			forbidUnknownFields(child)
		}
	}
}

// Keys answers the routing keys that have a schema, sorted.
func (e *Events) Keys() []string {
	var keys []string
	for key := range e.published {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Check fails the test unless m is a message the contract promises: a key with a schema, a body that follows it, and
// the same event id in message and body.
func (e *Events) Check(t testing.TB, m event.Message) {
	t.Helper()
	require.NoError(t, e.check(m), "a message with key %q is not what the contract says", m.RoutingKey)
}

func (e *Events) check(m event.Message) error {
	schema, ok := e.published[m.RoutingKey]
	if !ok {
		return fmt.Errorf("there is no schema; add api/schemas/%s.json", m.RoutingKey)
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Body))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	if err := schema.Validate(body); err != nil {
		return err
	}
	var envelope struct {
		EventID string `json:"event_id"`
	}
	if err := json.Unmarshal(m.Body, &envelope); err != nil {
		return err
	}
	switch {
	case envelope.EventID != m.ID:
		return fmt.Errorf("event_id is %s and the message's id is %s", envelope.EventID, m.ID)
	case m.ContentType != "application/json":
		return fmt.Errorf("the content type is %q", m.ContentType)
	}
	return nil
}
