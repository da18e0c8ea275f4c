package http

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

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
	Since   string // as it was typed
	Until   string
	Problem string // what is wrong with them: no entries are read then
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
		Since:   text("since"),
		Until:   text("until"),
		Actions: audit.Actions,
	}
	if strings.ContainsRune(page.Filter.Operator+page.Filter.SubjectID+string(page.Filter.Action), 0) {
		return echo.NewHTTPError(http.StatusBadRequest, "No entry has such a text.")
	}
	var wrong [2]error
	page.Filter.Since, wrong[0] = parseTime("since", page.Since, h.Now())
	page.Filter.Until, wrong[1] = parseTime("until", page.Until, h.Now())
	if err := cmp.Or(wrong[0], wrong[1]); err != nil {
		page.Problem = textOf(err)
		return h.renderStatus(c, http.StatusBadRequest, "audit", "Audit", page)
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
		"since": {page.Since}, "until": {page.Until},
	}, found.More)
	return h.render(c, "audit", "Audit", page)
}

// parseTime returns the time that a field holds, zero when it is empty. It takes what pages show and what commands take: a
// time in UTC, a date, which begins in UTC, RFC 3339, or how long before now it was.
func parseTime(field, typed string, now time.Time) (time.Time, error) {
	if typed == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(typed); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.DateTime, time.DateOnly, time.RFC3339} {
		// A database can compare with these years, and zero, which is no filter, is in none of them.
		if t, err := time.Parse(layout, typed); err == nil && t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, badRequest(fmt.Sprintf("%s: %.40q is no time: write one in UTC as 2026-01-31 09:30:00, a date as 2026-01-31, or 2h "+
		"for two hours ago", field, typed))
}
