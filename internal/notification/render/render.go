// Package render turns what a mail has to say into subject, plain text and HTML, in English or Vietnamese.
//
// It owns the wording and the look of mails. It sends nothing, reads no clock and does not judge its input: whether a
// code is still worth mailing is the caller's decision. The HTML loads nothing from outside (no image, font or
// style sheet), works with style sheets removed, and has a plain text with the same content beside it.
//
// A mail consists of one wording file per locale, templates/<mail>.<locale>.tmpl, which is prose only, and of a
// body, templates/<body>.html.tmpl and .txt.tmpl, set into templates/layout.html.tmpl. A new mail is one Go file
// with its data and its method, its wording files and, if no existing body fits, a body.
package render

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
)

//go:embed templates/*.tmpl
var files embed.FS

// fallbackLocale is used for every locale that has no wording.
const fallbackLocale = "en"

var locales = []string{fallbackLocale, "vi"}

// Rendered is one mail, ready to be sent.
type Rendered struct {
	// Subject is one line. It never holds a code: mail servers write subjects to their logs.
	Subject string
	Text    string
	HTML    string
}

// Renderer holds the parsed templates. It is safe for concurrent use.
type Renderer struct {
	wordings   map[string]*texttemplate.Template // "<mail>.<locale>"
	code       body
	invitation body
	completed  body
}

// body is the part of a mail that its locales share.
type body struct {
	html *htmltemplate.Template
	text *texttemplate.Template
}

// New parses every template and checks that no wording is incomplete, so that a broken one stops the start and not
// somebody's registration.
func New() (*Renderer, error) {
	r := &Renderer{wordings: map[string]*texttemplate.Template{}}
	for name, into := range map[string]*body{"code": &r.code, "invitation": &r.invitation, "completed": &r.completed} {
		parsed, err := parseBody(name)
		if err != nil {
			return nil, err
		}
		*into = parsed
	}
	for mail, parts := range map[string][]string{
		verification: codeParts, invitation: invitationParts, projectCompleted: completedParts,
	} {
		for _, locale := range locales {
			if err := r.parseWording(mail+"."+locale, parts); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func parseBody(name string) (body, error) {
	// A body that shows something no wording provides is an error, not an empty line in somebody's mail.
	html, err := htmltemplate.New(name).Option("missingkey=error").ParseFS(files, "templates/layout.html.tmpl", "templates/"+name+".html.tmpl")
	if err != nil {
		return body{}, fmt.Errorf("render: the HTML body %s is broken: %w", name, err)
	}
	text, err := texttemplate.New(name).Option("missingkey=error").ParseFS(files, "templates/"+name+".txt.tmpl")
	if err != nil {
		return body{}, fmt.Errorf("render: the text body %s is broken: %w", name, err)
	}
	return body{html: html, text: text}, nil
}

func (r *Renderer) parseWording(name string, parts []string) error {
	wording, err := texttemplate.New(name).Funcs(texttemplate.FuncMap{"count": count}).ParseFS(files, "templates/"+name+".tmpl")
	if err != nil {
		return fmt.Errorf("render: the wording %s is broken: %w", name, err)
	}
	for _, part := range parts {
		if wording.Lookup(part) == nil {
			return fmt.Errorf("render: the wording %s lacks %q; define it", name, part)
		}
	}
	r.wordings[name] = wording
	return nil
}

// words executes the parts of a wording into the view that a body shows. They come out as plain text: it is the HTML
// body that escapes them, each in its place.
func (r *Renderer) words(mail, locale string, parts []string, data any) (map[string]string, error) {
	wording, ok := r.wordings[mail+"."+locale]
	if !ok {
		locale = fallbackLocale
		wording = r.wordings[mail+"."+locale]
	}
	view := map[string]string{"lang": locale}
	for _, part := range parts {
		var line strings.Builder
		if err := wording.ExecuteTemplate(&line, part, data); err != nil {
			return nil, fmt.Errorf("render: %s.%s, part %q: %w", mail, locale, part, err)
		}
		view[part] = line.String()
	}
	return view, nil
}

func (b body) fill(view map[string]string) (Rendered, error) {
	var html, text strings.Builder
	if err := b.html.ExecuteTemplate(&html, "layout", view); err != nil {
		return Rendered{}, fmt.Errorf("render: the HTML body: %w", err)
	}
	if err := b.text.ExecuteTemplate(&text, "text", view); err != nil {
		return Rendered{}, fmt.Errorf("render: the text body: %w", err)
	}
	return Rendered{Subject: view["subject"], Text: text.String(), HTML: html.String()}, nil
}
