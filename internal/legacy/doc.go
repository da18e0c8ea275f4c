// Package legacy owns everything that exists only because of the previous release: which copies of a mail are
// committed in which phase of the migration, the rows and the publisher of those for its fanout exchange, the reading
// of its queue, the comparison of both paths, its one-time codes, the hashes its binaries can read, and
// `consumer fanout` (docs/adr/0006, docs/adr/0010).
//
// It promises that an event yields exactly one copy that sends, whatever the phase, and that every decision is on the
// copy when its transaction commits: relays and consumers know no phase. It does not promise that a copy for the old
// queue is never repeated: its readers recognise no repeats, and what is left of them is listed in docs/adr/0006.
//
// The core knows nothing of this package. It adds itself by decorating a publisher, a repository and a hasher, and by
// roles of its own; internal/app/legacy.go is the whole list. Ending the migration deletes both.
package legacy
