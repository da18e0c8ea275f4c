package httpserver

import (
	"net/http"
	"regexp"
	"strings"
)

// Wording has the messages of errors, and the problems of fields, in another language. Keys are the English texts, with
// "#" for each number in them; the translation has its "#" in the same order.
type Wording map[string]string

var number = regexp.MustCompile(`\d+`)

// of returns the translation of an English text, and the text itself when there is none.
func (w Wording) of(english string) string {
	translated, ok := w[number.ReplaceAllString(english, "#")]
	if !ok {
		return english
	}
	for _, n := range number.FindAllString(english, -1) {
		translated = strings.Replace(translated, "#", n, 1)
	}
	return translated
}

// translate returns body in the language of the request's [Locale]. It leaves the fields of the shared error alone.
// No response needs Vary: all of them are no-store.
func translate(r *http.Request, wordings map[string]Wording, body Envelope) Envelope {
	w, ok := wordings[Locale(r)]
	if !ok {
		return body
	}
	body.Message = w.of(body.Message)
	if body.Errors != nil {
		problems := make(map[string]string, len(body.Errors))
		for field, problem := range body.Errors {
			problems[field] = w.of(problem)
		}
		body.Errors = problems
	}
	return body
}
