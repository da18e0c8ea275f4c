package httpserver

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/apperror"
)

// The bounds of a list, promised in docs/compatibility.md.
const (
	defaultPageLimit = 15
	maxPageLimit     = 100
	maxListValues    = 100
)

// Page is the part of a list that a request asks for.
type Page struct {
	Number int // from 1
	Limit  int // rows of a page, from 1 to 100
}

// PageOf returns the page that the query parameters page and limit ask for. A page below 1 is the first; a limit below 1
// is the default of 15, one above 100 is 100. What is no number counts as not given.
func PageOf(c echo.Context) Page {
	number, err := strconv.Atoi(c.QueryParam("page"))
	if err != nil || number < 1 {
		number = 1
	}
	limit, err := strconv.Atoi(c.QueryParam("limit"))
	if err != nil || limit < 1 {
		limit = defaultPageLimit
	}
	return Page{Number: min(number, math.MaxInt32), Limit: min(limit, maxPageLimit)}
}

// Offset returns how many rows come before the page.
func (p Page) Offset() int { return (p.Number - 1) * p.Limit }

// Paginator describes a page of a list in a response.
type Paginator struct {
	Total       int  `json:"total"`        // rows of the whole list
	Count       int  `json:"count"`        // rows of this page
	PerPage     int  `json:"per_page"`     // rows of a full page
	CurrentPage int  `json:"current_page"` // as asked for, even behind the last
	TotalPages  int  `json:"total_pages"`
	HasNext     bool `json:"has_next"`
	HasPrev     bool `json:"has_prev"`
}

// Paginator returns the description of p, which has count rows of total.
func (p Page) Paginator(total, count int) Paginator {
	pages := (total + p.Limit - 1) / p.Limit
	return Paginator{
		Total:       total,
		Count:       count,
		PerPage:     p.Limit,
		CurrentPage: p.Number,
		TotalPages:  pages,
		HasNext:     p.Number < pages,
		HasPrev:     p.Number > 1 && pages > 0,
	}
}

// Values returns the values of a filter in the query: of `name=a,b`, `name=a&name=b` and `name[]=a&name[]=b`, without
// empty ones. It returns malformed, with the field's problem, when there are more than 100 or one has control characters.
func Values(c echo.Context, name string, malformed *apperror.Error) ([]string, error) {
	var values []string
	query := c.QueryParams()
	for _, key := range []string{name, name + "[]"} {
		for _, sent := range query[key] {
			for value := range strings.SplitSeq(sent, ",") {
				if value = strings.TrimSpace(value); value != "" {
					values = append(values, value)
				}
			}
		}
	}
	if slices.ContainsFunc(values, unstorable) {
		return nil, malformed.WithFields(map[string]string{name: "must not have control characters"})
	}
	if len(values) > maxListValues {
		return nil, malformed.WithFields(map[string]string{name: "must have at most 100 values"})
	}
	return values, nil
}

// unstorable reports whether no row can have this text.
func unstorable(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl)
}

// IDs is [Values] of a filter by uuid. It returns them in lower case, or malformed when one is no uuid.
func IDs(c echo.Context, name string, malformed *apperror.Error) ([]string, error) {
	ids, err := Values(c, name, malformed)
	if err != nil {
		return nil, err
	}
	for i, value := range ids {
		id, err := uuid.Parse(value)
		if err != nil {
			return nil, malformed.WithFields(map[string]string{name: "must be uuids"})
		}
		ids[i] = id.String()
	}
	return ids, nil
}
