// Package system runs the production binaries as real processes on the local stack and watches them from outside:
// over HTTP, on the exchange, in the database, in Redis, in a mailbox of its own and in their logs. The end-to-end
// tests (test/e2e) stand on it; production code never imports it.
//
// Every System has a PostgreSQL database, a RabbitMQ virtual host, a mail server and a number among the databases of
// Redis of its own, so that any number run side by side; what Redis publishes is heard by all of them. A fault of a
// stack server (Server.Kill, …) hits everything that runs on the stack, so tests that inject one must not run beside
// others; the stack is whole again when such a test has ended, however it ended.
//
// It does not start the stack: the variables of .stack/env have to be in the environment (make test-integration).
// Faults are injected by process id, so a stack that runs in Docker is refused where one is asked for.
package system
