// Package app is the composition root: it builds infrastructure and domains from a configuration and runs them as roles.
// It is the only package that may import everything; only cmd and test import it.
//
//   - infra.go: what a process stands on, servers or embedded parts (embedded.go).
//   - app.go: the assembly, top to bottom.
//   - roles.go: the table of what runs in which process, and in which order it stops.
//   - routes.go: the table of which event goes through which queue to which handler.
//   - adapters.go: what lets one domain ask another.
//
// It holds no rule of any domain. Requests and events pass through none of its functions but the adapters and the
// observers that log and count.
package app
