package http

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/httpserver"
)

// Guard decides who reaches the console and what is below /dev: browsers of people, on names that are this machine's.
type Guard struct {
	// Open says that the server is meant for those who reach it: only this machine does, or its operator has said so.
	Open  bool
	Hosts httpserver.Hosts
}

var (
	errClosed = echo.NewHTTPError(http.StatusForbidden, "The console and /dev are for this machine alone, and HOST lets "+
		"others in; unset HOST, or set STANDALONE_PUBLIC=true where everyone who reaches it may see and do everything")
	errHost = echo.NewHTTPError(http.StatusForbidden,
		"This host name may be a stranger's; use 127.0.0.1, localhost or the name that HOST has")
	errSite = echo.NewHTTPError(http.StatusForbidden, "Pages of this origin may not ask for that")
)

// Middleware refuses with 403. Of a page of another site it takes a link that a person follows, and nothing else.
func (g Guard) Middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		switch {
		case !g.Open:
			return errClosed
		case !g.Hosts.Allow(r.Host):
			return errHost
		case httpserver.FromElsewhere(r):
			return errSite
		}
		return next(c)
	}
}
