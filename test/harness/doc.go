// Package harness runs the production binaries as real processes on the local stack and watches them from outside:
// over HTTP, on the exchange, in the database, in Redis, in a mailbox of its own and in their logs. The end-to-end
// tests (test/e2e), the migration walk (test/migration) and the benchmarks (test/bench) stand on it.
//
// [Start] returns a [System], whose methods return errors. [New] returns a [TestSystem], the same for a test: it ends
// with the test, and its methods fail the test instead.
//
// Every System has a PostgreSQL database, a RabbitMQ virtual host, a mail server and a numbered Redis database of its
// own, so that several run side by side. What Redis publishes reaches all of them. A fault of a stack server
// ([Server.Kill] and the like) hits everything that runs on the stack, so a test that injects one must not run beside
// others.
//
// The package does not start the stack: the variables of .stack/env have to be in the environment (see
// make test-integration). It does not inject faults into a stack that runs in Docker, because it signals process ids.
package harness
