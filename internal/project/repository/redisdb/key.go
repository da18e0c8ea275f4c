package redisdb

// The keys (docs/compatibility.md). Nobody else spells these names. They lie in one database of one server, not in a
// cluster: one script changes all of a project's and OpenKey.

// OpenKey is the sorted set of the projects that we count and that are not signalled yet, by the millisecond of their
// last touch.
const OpenKey = "identity:open-projects"

// Key is the hash that a project shares with the neighbours: status, total, done, errors and what they keep in it.
func Key(projectID string) string { return "smap:proj:" + projectID }

// ItemsKey is the set of the items that have been counted.
func ItemsKey(projectID string) string { return Key(projectID) + ":items" }

// FailedKey is the set of those of them that have failed and have not been repaired.
func FailedKey(projectID string) string { return Key(projectID) + ":failed" }

// OwnerKey is the string that holds the owner's user id.
func OwnerKey(projectID string) string { return "smap:user:" + projectID }

// keys are a project's and OpenKey, in the order of begin.lua, cut out of one string: they are built for every item.
func keys(projectID string) [5]string {
	all := Key(projectID) + ":items" + Key(projectID) + ":failed" + OwnerKey(projectID)
	hash := len(Key("")) + len(projectID)
	items := hash + len(":items")
	failed := items + hash + len(":failed")
	return [5]string{all[:hash], all[:items], all[items:failed], all[failed:], OpenKey}
}
