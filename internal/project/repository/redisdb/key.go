package redisdb

// The keys (docs/compatibility.md); their names are spelt in this file only. All of them live in one database of one
// server, not in a cluster: a script changes a project's keys and OpenKey together.

// OpenKey is the sorted set of the open projects: those that this service counts and that are not signalled yet, scored
// by the millisecond of their last touch.
const OpenKey = "identity:open-projects"

// Key returns the hash that all services share: status, total, done, errors, and the fields of other services.
func Key(projectID string) string { return "smap:proj:" + projectID }

// ItemsKey returns the set of the counted items.
func ItemsKey(projectID string) string { return Key(projectID) + ":items" }

// FailedKey returns the set of the counted items that failed and were not repaired.
func FailedKey(projectID string) string { return Key(projectID) + ":failed" }

// OwnerKey returns the string that holds the owner's user id.
func OwnerKey(projectID string) string { return "smap:user:" + projectID }

// keys returns the keys of a project in the order of begin.lua.
func keys(projectID string) []string {
	return []string{Key(projectID), ItemsKey(projectID), FailedKey(projectID), OwnerKey(projectID), OpenKey}
}
