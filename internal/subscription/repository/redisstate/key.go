package redisstate

// Key is the hash that holds a user's state (WIRE.md A3). Nobody else spells this name.
func Key(userID string) string { return "smap:sub:" + userID }
