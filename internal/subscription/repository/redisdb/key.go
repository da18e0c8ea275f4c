package redisdb

// Key returns the hash of a user's state (docs/compatibility.md). Its name is spelt here only.
func Key(userID string) string { return "smap:sub:" + userID }
