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

// InternalKey returns a middleware that passes requests with key as X-Internal-Key or as the bare Authorization, and
// responds 401 to every other; to all when key is empty. Of several values any may be the key. It compares in constant
// time.
func InternalKey(key string) echo.MiddlewareFunc {
	want := sha256.Sum256([]byte(key)) // of one length, whatever was sent
	matches := func(sent string) bool {
		got := sha256.Sum256([]byte(sent))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Request().Header
			sent := slices.Concat(h.Values(headerInternalKey), h.Values(echo.HeaderAuthorization))
			if key == "" || !slices.ContainsFunc(sent, matches) {
				return echo.NewHTTPError(http.StatusUnauthorized, "Send the internal key as X-Internal-Key")
			}
			return next(c)
		}
	}
}
