package httpserver

import (
	"net/http"

	"golang.org/x/text/language"
)

// locales are the languages in which people are written to. The first stands in for every other.
var (
	locales = []string{"en", "vi"}
	matcher = language.NewMatcher([]language.Tag{language.English, language.Vietnamese})
)

// Locale returns the language to write to the client in: the one in the front end's `lang` header, else what the browser
// prefers, else English (docs/compatibility.md).
func Locale(r *http.Request) string {
	_, i := language.MatchStrings(matcher, r.Header.Get("lang"), r.Header.Get("Accept-Language"))
	return locales[i]
}
