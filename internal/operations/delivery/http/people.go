package http

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/operations"
)

func (h *handler) personRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/people", handle: h.people, nav: "People"},
		{method: http.MethodPost, path: "/people", handle: h.findPerson},
		{method: http.MethodGet, path: "/people/:id", handle: h.person},
		{method: http.MethodPost, path: "/people/:id/do", handle: h.change("an account", h.doToPerson)},
	}
}

// personPage is a person, or why there is none. Nothing of it is in an address but their id.
type personPage struct {
	Person  *operations.Person
	Actions []action
	Failure string
}

// action is something that can be done to an account as it is.
type action struct {
	Verb         operations.Verb
	Label, Hint  string
	Danger       bool
	TakesReason  bool
	only, except []string // states of the account
	role         string   // which it has to have
}

// actions are all of them, the harmless ones first.
var actions = []action{
	{
		Verb: operations.Resend, Label: "Mail another code", except: []string{"disabled", "deleted"},
		Hint: "In the newest request of the address, as if the person had asked from there, within the same limits.",
	},
	{Verb: operations.EndSessions, Label: "End every session", except: []string{"deleted"}, Hint: "They have to log in again."},
	{
		Verb: operations.Promote, Label: "Make an administrator", only: []string{"active"}, role: "USER",
		Hint: "The role counts from the next request on.",
	},
	{Verb: operations.Demote, Label: "Make a plain user", only: []string{"active"}, role: "ADMIN", Hint: "One active administrator has to stay."},
	{Verb: operations.Enable, Label: "Enable", only: []string{"disabled"}, Hint: "The password is the one it was."},
	{
		Verb: operations.Disable, Label: "Disable", except: []string{"disabled", "deleted"}, Danger: true, TakesReason: true,
		Hint: "Nobody can log in, and every session ends. It can be enabled again.",
	},
	{
		Verb: operations.Delete, Label: "Delete", except: []string{"deleted"}, Danger: true, TakesReason: true,
		Hint: "For good: the address is free at once, and the data are erased after ERASE_AFTER.",
	},
}

// actionsOn returns what can be done to an account.
func actionsOn(u *operations.PersonUser) (found []action) {
	if u == nil {
		return nil
	}
	for _, a := range actions {
		if (a.only == nil || slices.Contains(a.only, u.State)) && !slices.Contains(a.except, u.State) && (a.role == "" || a.role == u.Role) {
			found = append(found, a)
		}
	}
	return found
}

func (h *handler) people(c echo.Context) error { return h.render(c, "people", "People", personPage{}) }

// findPerson leads to the page of the user with an address. What is known of an address that no user has is shown here: it has
// no page.
func (h *handler) findPerson(c echo.Context) error {
	if c.FormValue("form") != h.frame(c, "").FormKey {
		return errForm
	}
	p, err := h.People.ByAddress(c.Request().Context(), c.FormValue("address"))
	switch {
	case errors.Is(err, operations.ErrNobody):
		return h.renderStatus(c, http.StatusNotFound, "people", "People", personPage{Failure: textOf(err)})
	case err != nil:
		code, text := statusOf(err)
		return h.renderStatus(c, code, "people", "People", personPage{Failure: text})
	case p.User != nil && p.User.State != "deleted":
		return c.Redirect(http.StatusSeeOther, "/people/"+p.User.ID)
	}
	return h.render(c, "people", "People", personPage{Person: &p})
}

func (h *handler) person(c echo.Context) error {
	p, err := h.People.ByID(c.Request().Context(), c.Param("id"))
	switch {
	case errors.Is(err, operations.ErrNobody):
		return h.renderStatus(c, http.StatusNotFound, "people", "People", personPage{Failure: "No account has this id, or it was deleted. " +
			"What was done to it is in the audit, by the id."})
	case err != nil:
		return err
	}
	return h.render(c, "people", "Person", personPage{Person: &p, Actions: actionsOn(p.User)})
}

func (h *handler) doToPerson(ctx context.Context, c echo.Context, _ string) (string, error) {
	return h.People.Do(ctx, operations.Verb(c.FormValue("verb")), c.Param("id"), c.FormValue("reason"))
}
