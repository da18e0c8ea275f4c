package http

import (
	"github.com/labstack/echo/v4"
	"golang.org/x/text/language"
)

// locales are the languages of our mails; the first stands in for every other.
var (
	locales = []string{"en", "vi"}
	matcher = language.NewMatcher([]language.Tag{language.English, language.Vietnamese})
)

// locale is the language to write to the person in: the front end's `lang` header, else what the browser prefers,
// else English (docs/compatibility.md).
func locale(c echo.Context) string {
	h := c.Request().Header
	_, i := language.MatchStrings(matcher, h.Get("lang"), h.Get("Accept-Language"))
	return locales[i]
}
