// Package app is the composition root: it builds infrastructure and domains from a configuration and runs them as
// roles. It is the only package that may import everything, and only cmd/* imports it. It holds no rule of any
// domain: what it decides is who gets what, and in which order things start and stop.
//
// Read routes.go first: the routing table is the system on one screen.
package app
