// Package event owns what this service says to others and hears from them: the envelope, the routing keys, the
// typed payloads, the Publisher a use case calls, the Router that finds the handler of a key, and the vocabulary
// in which a handler says what shall happen next (nil, Drop, NotYet, Permanent, any other error).
//
// What it does not promise, and every consumer must live with:
//   - Order. Two events of one user can arrive in either order; payloads that carry state carry a version.
//   - Once. An event arrives at least once; its event_id is the same each time, and effects are guarded by it.
//   - Soon. A broker outage, a retry level or a slow neighbour delays an event by minutes.
//
// It knows no broker and no database: event/outbox, event/rabbitmq and event/inprocess do.
package event
