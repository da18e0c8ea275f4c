package http

import (
	"net/netip"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// clientOf returns where the request comes from.
func clientOf(c echo.Context) authentication.Client {
	ip, _ := netip.ParseAddr(c.RealIP()) // the zero value when it cannot be told
	return authentication.Client{
		IP:        ip,
		UserAgent: c.Request().UserAgent(),
		Locale:    httpserver.Locale(c.Request()),
	}
}
