package http

import (
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/invitation"
)

// The parsers, for their tests: a test inside this package could not use testify's require.
const KeptBytes = keptBytes

var (
	ParseCSV       = parseCSV
	ParseJSON      = parseJSON
	IdempotencyKey = idempotencyKey
)

// Receive returns a request's upload, and its digest, as fn wants them.
func Receive(c echo.Context, fn func(sent invitation.Addresses, digest []byte)) error {
	u, err := receive(c)
	if err != nil {
		return err
	}
	defer u.close()
	fn(u, u.digest)
	return nil
}
