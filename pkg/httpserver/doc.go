// Package httpserver owns everything about HTTP that is the same for every route: the envelope of a response, the one
// function that maps an error to a status, limits and timeouts, headers, the request's log line, span and metric, and
// an orderly stop.
//
// A handler returns an error or responds with [Success]; it logs nothing about the request itself. No log line, span or
// metric contains a body, a query, a cookie or an Authorization header, and no response the text of an unknown error.
//
// It does not promise that a handler stops when its client disconnects (the context ends, the handler must watch it),
// nor TLS, compression or CORS, which belong to the proxy in front.
package httpserver
