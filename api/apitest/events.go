package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api"
	"github.com/smap-platform/identity/internal/event"
)

// Events checks messages against api/schemas. It is safe for concurrent use.
type Events struct{ published map[string]*jsonschema.Schema }

// NewEvents returns the schemas of every event. It fails the test when one cannot be compiled.
//
// The published schemas allow unknown fields, so that a reader accepts a newer event. A producer has no such excuse:
// these schemas require every field to be described.
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

// Keys returns the routing keys that have a schema, sorted.
func (e *Events) Keys() []string { return slices.Sorted(maps.Keys(e.published)) }

// Check fails the test unless m is a message of the contract: its key has a schema, its body follows it, and message
// and body have the same event id.
func (e *Events) Check(t testing.TB, m event.Message) {
	t.Helper()
	require.NoError(t, e.check(m), "a message with key %q breaks the contract", m.RoutingKey)
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
