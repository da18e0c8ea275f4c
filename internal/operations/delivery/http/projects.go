package http

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/operations"
)

// pageRows is how many rows a page of a list has.
const pageRows = 50

func (h *handler) projectRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/batches", handle: h.batches, nav: "Batches"},
		{method: http.MethodGet, path: "/projects", handle: h.projects, nav: "Projects"},
		{method: http.MethodGet, path: "/projects/:id", handle: h.project},
	}
}

// pager is where else a list can be looked at. The templates' part of the same name shows it.
type pager struct {
	First string // the address of the first page; empty on that page
	Next  string // the address of the next page; empty at the end
}

// pagerOf returns the pager of the list and the page that a request asks for. Its addresses keep filter; more is where the
// next page begins.
func pagerOf(c echo.Context, filter url.Values, more string) (p pager) {
	if strings.TrimSpace(c.QueryParam("after")) != "" {
		p.First = listAddress(c.Path(), filter, "")
	}
	if more != "" {
		p.Next = listAddress(c.Path(), filter, more)
	}
	return p
}

// listAddress returns the address of a page of the list at path that keeps filter. It begins behind after, or, where that is
// empty, at the beginning.
func listAddress(path string, filter url.Values, after string) string {
	query := maps.Clone(filter)
	if after != "" {
		query.Set("after", after)
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// partPage is a page of a list in one state.
type partPage[T any] struct {
	State   string
	States  []string
	Rows    []T
	Failure string
	pager
}

// readPart reads the page of a list that a request asks for.
func readPart[T any](
	c echo.Context, states []string, fallback string, read func(state, after string) (operations.Part[T], error),
) (partPage[T], error) {
	page := partPage[T]{State: c.QueryParam("state"), States: states}
	if page.State == "" {
		page.State = fallback
	}
	if page.State != "" && !slices.Contains(states, page.State) {
		return page, echo.NewHTTPError(http.StatusBadRequest, "There is no such state.")
	}
	found, err := read(page.State, c.QueryParam("after"))
	if errors.Is(err, operations.ErrPlace) {
		return page, echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	if err != nil {
		page.Failure = textOf(err)
	}
	page.Rows = found.Rows
	page.pager = pagerOf(c, url.Values{"state": {page.State}}, found.More)
	return page, nil
}

func (h *handler) batches(c echo.Context) error {
	page, err := readPart(c, operations.BatchStates, "", func(state, after string) (operations.Part[operations.Batch], error) {
		return h.Projects.Batches(c.Request().Context(), state, after, pageRows)
	})
	if err != nil {
		return err
	}
	return h.render(c, "batches", "Batches", page)
}

func (h *handler) projects(c echo.Context) error {
	if id := strings.TrimSpace(c.QueryParam("id")); id != "" {
		return c.Redirect(http.StatusSeeOther, "/projects/"+url.PathEscape(id))
	}
	page, err := readPart(c, operations.ProjectStates, "open", func(state, after string) (operations.Part[operations.Project], error) {
		return h.Projects.Projects(c.Request().Context(), state, after, pageRows)
	})
	if err != nil {
		return err
	}
	return h.render(c, "projects", "Projects", page)
}

func (h *handler) project(c echo.Context) error {
	id := c.Param("id")
	if c.Request().URL.RawPath != "" { // echo leaves it as it is then
		if whole, err := url.PathUnescape(id); err == nil {
			id = whole
		}
	}
	p, err := h.Projects.Project(c.Request().Context(), id)
	if errors.Is(err, operations.ErrNoProject) {
		return echo.NewHTTPError(http.StatusGone, err.Error())
	}
	if err != nil {
		return err
	}
	return h.render(c, "project", "Project", p)
}
