// Package httpserver owns everything about HTTP that is the same for every route: the envelope of an answer, the one
// place where an error becomes a status, limits and timeouts, headers, the request's log line, span and metric, and
// an orderly end.
//
// A handler returns an error or answers with Success; it logs nothing about the request itself. No log line, span or
// metric has a body, a query, a cookie or an Authorization header in it, and no answer has the text of an unknown error.
//
// It does not promise that a handler is stopped when a client goes away (its context ends, it must look), nor TLS,
// compression or CORS, which are the business of the proxy in front.
package httpserver
