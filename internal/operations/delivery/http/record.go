package http

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/operations"
)

func (h *handler) recordRoutes() []route {
	return []route{{method: http.MethodGet, path: "/audit", handle: h.audit, nav: "Audit"}}
}

// auditPage is a page of the record.
type auditPage struct {
	Filter  audit.Filter
	Actions []audit.Action
	Entries []audit.Entry
	pager
}

func (h *handler) audit(c echo.Context) error {
	text := func(name string) string { return strings.TrimSpace(c.QueryParam(name)) }
	page := auditPage{
		Filter: audit.Filter{
			Action: audit.Action(text("action")), Operator: text("operator"), SubjectID: text("subject"), UserID: text("user"),
			Limit: pageRows,
		},
		Actions: audit.Actions,
	}
	if strings.ContainsRune(page.Filter.Operator+page.Filter.SubjectID+string(page.Filter.Action), 0) {
		return echo.NewHTTPError(http.StatusBadRequest, "No entry has such a text.")
	}
	found, err := h.Record.Entries(c.Request().Context(), page.Filter, text("after"))
	if errors.Is(err, operations.ErrPlace) {
		return echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	if err != nil {
		return err
	}
	page.Entries = found.Rows
	page.pager = pagerOf(c, url.Values{
		"action": {text("action")}, "operator": {text("operator")}, "subject": {text("subject")}, "user": {text("user")},
	}, found.More)
	return h.render(c, "audit", "Audit", page)
}
