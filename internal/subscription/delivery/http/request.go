package http

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/subscription"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// actorOf returns who is logged in.
func actorOf(c echo.Context) (subscription.Actor, error) {
	p, ok := httpserver.PrincipalOf(c)
	if !ok {
		return subscription.Actor{}, echo.NewHTTPError(http.StatusUnauthorized, "Please log in")
	}
	return subscription.Actor{UserID: p.Subject, Admin: p.Admin()}, nil
}

// administrator is actorOf that refuses everybody else before the request is read.
func administrator(c echo.Context) (subscription.Actor, error) {
	actor, err := actorOf(c)
	if err == nil && !actor.Admin {
		return actor, subscription.ErrForbidden
	}
	return actor, err
}

// idOf returns the id in the path in lower case, or malformed.
func idOf(c echo.Context, malformed error) (string, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return "", malformed
	}
	return id.String(), nil
}

// moment is a time of a request, as the database can store it. Absent and null differ in given.
type moment struct {
	given bool
	at    *time.Time
}

// UnmarshalJSON implements [json.Unmarshaler].
func (m *moment) UnmarshalJSON(raw []byte) error {
	m.given = true
	if string(raw) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	m.at = &time.Time{} // what is no time is refused by times: the name of the field is not known here
	at, err := time.Parse(time.RFC3339, text)
	if at = at.UTC(); err == nil && at.Year() >= 1 && at.Year() <= 9999 { // as it will be written
		*m.at = at.Truncate(time.Microsecond)
	}
	return nil
}

func (m moment) optional() subscription.OptionalTime {
	return subscription.OptionalTime{Given: m.given, Time: m.at}
}

// times adds the problem of each moment that is no time to problems.
func times(problems map[string]string, moments map[string]moment) {
	for name, m := range moments {
		if m.at != nil && m.at.IsZero() {
			problems[name] = "must be a time, as in 2026-01-31T09:30:00Z"
		}
	}
}

// body returns [subscription.ErrBody] with problems, or nil when there are none.
func body(problems map[string]string) error {
	if len(problems) > 0 {
		return subscription.ErrBody.WithFields(problems)
	}
	return nil
}
