// Package api owns the contracts as files: OpenAPI for HTTP, AsyncAPI and JSON Schema for events. The api serves them,
// and tests check the program against them with package apitest.
//
// It does not promise that other services follow the contracts, only that this one does.
package api

import "embed"

// OpenAPI is openapi.yaml. It refers to no other file.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AsyncAPI is asyncapi.yaml. It refers to Schemas by relative paths: serve them beside it, below schemas/.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte

// Schemas has schemas/{routing key}.json, one JSON Schema (draft 2020-12) per event, for the whole body.
//
//go:embed schemas/*.json
var Schemas embed.FS
