// Package project owns the progress of projects: the hash smap:proj:{id} that all SMAP services share, and the event
// job.completed.
//
// An item counts once, however often it is marked. A project crosses its finish line once: when [Progress].Done
// reaches a Total above 0, unless items are still being found ([StatusCrawling]) or the project is [Status.Final]
// already. The project is then DONE, failed items included. If this service counted it, its job.completed is stored
// in the outbox exactly once. Every operation may be repeated after any error, and fields that other services keep in
// the hash survive.
//
// The package does not promise that progress is available: Redis may be down, may lose its last second of writes, and
// expires a project seven days after its last change.
package project
