package redisdb

// Key is the hash that holds a user's state (docs/compatibility.md). Nobody else spells this name.
func Key(userID string) string { return "smap:sub:" + userID }
