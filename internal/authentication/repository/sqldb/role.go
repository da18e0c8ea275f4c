package sqldb

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/smap-platform/identity/internal/authentication"
)

// roleHash is how the previous release stores a role in users.role_hash (docs/compatibility.md). It hides
// nothing: it is a spelling that both releases have to share.
func roleHash(r authentication.Role) string {
	sum := sha256.Sum256([]byte(string(r) + ":smap:role"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

var adminHash = roleHash(authentication.RoleAdmin)

// roleOf returns USER for everything but an administrator's hash, NULL included.
func roleOf(hash string) authentication.Role {
	if hash == adminHash {
		return authentication.RoleAdmin
	}
	return authentication.RoleUser
}
