// Package api holds the contracts as files – OpenAPI for HTTP, AsyncAPI and JSON Schema for events – and gives them to
// the program that serves them. Tests check what the program really says against them; package apitest is for those.
package api

import "embed"

// OpenAPI is openapi.yaml, which stands alone.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AsyncAPI is asyncapi.yaml. It refers to Schemas by relative paths: serve them beside it, below schemas/.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte

// Schemas has schemas/{routing key}.json, one JSON Schema (draft 2020-12) per event, for the body as a whole.
//
//go:embed schemas/*.json
var Schemas embed.FS
