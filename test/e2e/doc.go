// Package e2e proves what the service promises, on good days and bad ones, with real processes on the real stack. Run
// it with make test-integration. Everything here has the build tag e2e; the harness is test/harness.
//
// Tests that break a server of the stack, or measure latency, run one after the other. Those that only break their own
// processes or mail server run side by side after them. The package does not test rules in detail: the suites of the
// use cases do.
package e2e
