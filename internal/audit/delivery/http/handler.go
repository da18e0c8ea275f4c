// Package http shows the record to administrators.
package http

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// Reader is the use case behind the route.
type Reader interface {
	List(ctx context.Context, admin bool, f audit.Filter) ([]audit.Entry, int, error)
}

// Register puts the route on g. authenticated sets the principal.
func Register(g *echo.Group, r Reader, authenticated echo.MiddlewareFunc) {
	g.GET("/audit", handler{r}.list, authenticated)
}

type handler struct{ reader Reader }

// entryResponse is an entry. Times are RFC 3339 in UTC; what is not known is left out.
type entryResponse struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Action    string    `json:"action"`
	Outcome   string    `json:"outcome"`
	ActorID   string    `json:"actor_id,omitempty"`
	Operator  string    `json:"operator,omitempty"`
	UserID    string    `json:"user_id,omitempty"`
	SubjectID string    `json:"subject_id,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	Address   string    `json:"address,omitempty"`
	IP        string    `json:"ip_address,omitempty"`
	Agent     string    `json:"user_agent,omitempty"`
	Reason    string    `json:"reason,omitempty"`
}

type listResponse struct {
	Entries  []entryResponse      `json:"entries"`
	Metadata httpserver.Paginator `json:"metadata"`
}

func (h handler) list(c echo.Context) error {
	principal, _ := httpserver.PrincipalOf(c)
	filter, err := filterOf(c)
	if err != nil && principal.Admin() { // others learn that they may not first
		return err
	}
	page := httpserver.PageOf(c)
	filter.Limit, filter.Offset = page.Limit, page.Offset()
	found, total, err := h.reader.List(c.Request().Context(), principal.Admin(), filter)
	if err != nil {
		return err
	}
	response := listResponse{make([]entryResponse, len(found)), page.Paginator(total, len(found))}
	for i, e := range found {
		response.Entries[i] = entryResponse{
			ID:        e.ID,
			At:        e.At,
			Action:    string(e.Action),
			Outcome:   string(e.Outcome),
			ActorID:   e.ActorID,
			Operator:  e.Operator,
			UserID:    e.UserID,
			SubjectID: e.SubjectID,
			RequestID: e.RequestID,
			Address:   e.Address,
			IP:        e.IP,
			Agent:     e.Agent,
			Reason:    e.Reason,
		}
	}
	return httpserver.Success(c, http.StatusOK, response)
}

// filterOf returns what the query selects, or ErrQuery with every parameter at fault.
func filterOf(c echo.Context) (f audit.Filter, err error) {
	problems := map[string]string{}
	id := func(name string) string {
		text := c.QueryParam(name)
		parsed, err := uuid.Parse(text)
		if text == "" {
			return ""
		}
		if err != nil {
			problems[name] = "must be a uuid"
		}
		return parsed.String()
	}
	at := func(name string) (t time.Time) {
		text := c.QueryParam(name)
		if text == "" {
			return t
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
			problems[name] = "must be a time, as in 2026-01-31T09:30:00Z"
		}
		return t
	}
	actions, err := httpserver.Values(c, "action", audit.ErrQuery)
	if err != nil {
		return f, err
	}
	if len(actions) > 1 {
		problems["action"] = "must be one"
	}
	f = audit.Filter{UserID: id("user_id"), ActorID: id("actor_id"), Since: at("since"), Until: at("until")}
	if len(problems) > 0 {
		return f, audit.ErrQuery.WithFields(problems)
	}
	if len(actions) == 1 {
		f.Action = audit.Action(actions[0])
	}
	return f, nil
}
