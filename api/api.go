// Package api holds the contracts as files – OpenAPI for HTTP – and gives them to the program that serves them. Tests
// check the handlers against them.
package api

import _ "embed"

// OpenAPI is openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte
