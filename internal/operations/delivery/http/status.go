package http

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/status"
)

func (h *handler) statusRoutes() []route {
	return []route{{method: http.MethodGet, path: "/status", handle: h.status, nav: "Status"}}
}

// statusPage is how the service is, the worst first.
type statusPage struct {
	Facts    status.Facts
	Problems []status.Problem
}

func (h *handler) status(c echo.Context) error {
	facts := h.Facts(c.Request().Context())
	return h.render(c, "status", "Status", statusPage{facts, status.Judge(facts)})
}
