package httpserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"
)

// headerInternalKey is where other services send the key they share with this one (docs/compatibility.md).
const headerInternalKey = "X-Internal-Key"

// InternalKey returns a middleware that passes requests with one of keys as X-Internal-Key or as the bare Authorization,
// and responds 401 to every other. An empty key is none. Of several values any may be the key. It compares in constant
// time with each key.
func InternalKey(keys ...string) echo.MiddlewareFunc {
	var wanted [][sha256.Size]byte // of one length, whatever was sent
	for _, key := range keys {
		if key != "" {
			wanted = append(wanted, sha256.Sum256([]byte(key)))
		}
	}
	matches := func(sent string) bool {
		got, equal := sha256.Sum256([]byte(sent)), 0
		for _, want := range wanted {
			equal |= subtle.ConstantTimeCompare(got[:], want[:])
		}
		return equal == 1
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Request().Header
			sent := slices.Concat(h.Values(headerInternalKey), h.Values(echo.HeaderAuthorization))
			if !slices.ContainsFunc(sent, matches) {
				return echo.NewHTTPError(http.StatusUnauthorized, "Send the internal key as X-Internal-Key")
			}
			return next(c)
		}
	}
}
