// Package e2e proves what the service promises, good days and bad ones, with real processes on the real stack: run
// it by make test-integration. Everything here has the build tag e2e; the harness is test/system.
//
// Tests that break a server of the stack run one after the other; those that only break their own processes or mail
// server run side by side after them.
package e2e
