// Package event owns the messages this service exchanges with others: the envelope, the routing keys, the typed payloads,
// the [Publisher] that use cases call, the [Router] that finds the handler of a key, the middleware around handlers, the
// results by which a handler decides what happens next (nil, [Drop], [NotYet], [Blocked], [Permanent], any other error),
// and the [Lane] that pauses a queue while a server refuses this service.
//
// It does not promise:
//   - Order. Two events of one user can arrive in either order; payloads that carry state carry a version.
//   - Exactly one delivery. An event arrives at least once, with the same event_id each time, by which effects are guarded.
//   - A time. A broker outage, a retry level or a slow consumer delays an event by minutes.
//
// It knows no broker and no database: event/outbox, event/rabbitmq and event/inprocess do.
package event
