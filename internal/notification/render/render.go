// Package render turns what a mail has to say into subject, plain text and HTML, in English or Vietnamese.
//
// It owns the wording and the look of mails. It sends nothing, reads no clock and does not judge its input: whether a
// code is still worth mailing is the caller's decision. The HTML loads nothing from outside (no image, font or style
// sheet), works with style sheets removed, and has a plain text with the same content beside it.
//
// A mail consists of one wording file per locale, templates/<mail>.<locale>.tmpl, which is prose only, and of a body,
// templates/<body>.html.tmpl and .txt.tmpl, set into templates/layout.html.tmpl. A new mail is an entry in the table of
// mails, one Go file with its method, its wording files and, if no existing body fits, a body.
package render

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"maps"
	"strings"
	texttemplate "text/template"

	"github.com/smap-platform/identity/internal/notification"
)

//go:embed templates/*.tmpl
var files embed.FS

// fallbackLocale is used for every locale that has no wording.
const fallbackLocale = "en"

var locales = []string{fallbackLocale, "vi"}

// mails lists every mail: the body it is set into, and the parts that each of its wordings defines.
var mails = map[string]struct {
	body  string
	parts []string
}{
	verification: {"code", []string{
		"subject", "preheader", "heading", "intro", "validity", "warning", "ignore", "footer",
	}},
	passwordReset: {"code", []string{
		"subject", "preheader", "heading", "intro", "validity", "warning", "ignore", "footer",
	}},
	passwordChanged:   {"notice", []string{"subject", "preheader", "heading", "intro", "validity", "note", "footer"}},
	passwordResetDone: {"notice", []string{"subject", "preheader", "heading", "intro", "validity", "note", "footer"}},
	accountDisabled:   {"notice", []string{"subject", "preheader", "heading", "intro", "validity", "note", "footer"}},
	accountDeleted:    {"notice", []string{"subject", "preheader", "heading", "intro", "validity", "note", "footer"}},
	accountExists:     {"notice", []string{"subject", "preheader", "heading", "intro", "validity", "note", "footer"}},
	invitation: {"invitation", []string{
		"subject", "preheader", "heading", "intro", "action", "paste", "validity", "warning", "ignore", "footer",
	}},
	projectCompleted: {"completed", []string{
		"subject", "preheader", "heading", "intro", "total", "sent", "failed", "total_count", "sent_count", "failed_count",
		"note", "reference", "footer",
	}},
	trialEnding: {"notice", []string{"subject", "preheader", "heading", "intro", "validity", "note", "footer"}},
}

// Renderer implements notification.Renderer on the parsed templates. It is safe for concurrent use. Any locale but "vi"
// gives English.
type Renderer struct {
	wordings map[string]*texttemplate.Template // by "<mail>.<locale>"
	bodies   map[string]body                   // by mail
}

// body is the part of a mail that its locales share.
type body struct {
	html *htmltemplate.Template
	text *texttemplate.Template
}

// New parses every template and checks that every wording is complete, so that a broken one fails the start and not a
// registration.
func New() (*Renderer, error) {
	r := &Renderer{wordings: map[string]*texttemplate.Template{}, bodies: map[string]body{}}
	for mail, m := range mails {
		parsed, err := parseBody(m.body)
		if err != nil {
			return nil, err
		}
		r.bodies[mail] = parsed
		for _, locale := range locales {
			name := mail + "." + locale
			if r.wordings[name], err = parseWording(name, m.parts); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// parseBody makes a name that no wording provides an error, not an empty line in a mail.
func parseBody(name string) (b body, err error) {
	b.html, err = htmltemplate.New(name).Option("missingkey=error").
		ParseFS(files, "templates/layout.html.tmpl", "templates/"+name+".html.tmpl")
	if err != nil {
		return body{}, fmt.Errorf("render: parsing the HTML body %s: %w", name, err)
	}
	b.text, err = texttemplate.New(name).Option("missingkey=error").ParseFS(files, "templates/"+name+".txt.tmpl")
	if err != nil {
		return body{}, fmt.Errorf("render: parsing the text body %s: %w", name, err)
	}
	return b, nil
}

func parseWording(name string, parts []string) (*texttemplate.Template, error) {
	wording, err := texttemplate.New(name).
		Funcs(texttemplate.FuncMap{"count": count}).
		ParseFS(files, "templates/"+name+".tmpl")
	if err != nil {
		return nil, fmt.Errorf("render: parsing the wording %s: %w", name, err)
	}
	for _, part := range parts {
		if wording.Lookup(part) == nil {
			return nil, fmt.Errorf("render: the wording %s lacks %q; define it", name, part)
		}
	}
	return wording, nil
}

// render executes the parts of a wording on data and sets them, together with extra, into the mail's body. The parts
// are plain text: it is the HTML body that escapes them, each in its place.
func (r *Renderer) render(mail, locale string, data any, extra map[string]string) (notification.Content, error) {
	wording, ok := r.wordings[mail+"."+locale]
	if !ok {
		locale = fallbackLocale
		wording = r.wordings[mail+"."+locale]
	}
	view := map[string]string{"lang": locale}
	maps.Copy(view, extra)
	for _, part := range mails[mail].parts {
		var line strings.Builder
		if err := wording.ExecuteTemplate(&line, part, data); err != nil {
			return notification.Content{}, fmt.Errorf("render: %s.%s, part %q: %w", mail, locale, part, err)
		}
		view[part] = line.String()
	}
	var html, text strings.Builder
	if err := r.bodies[mail].html.ExecuteTemplate(&html, "layout", view); err != nil {
		return notification.Content{}, fmt.Errorf("render: %s: the HTML body: %w", mail, err)
	}
	if err := r.bodies[mail].text.ExecuteTemplate(&text, "text", view); err != nil {
		return notification.Content{}, fmt.Errorf("render: %s: the text body: %w", mail, err)
	}
	return notification.Content{Subject: view["subject"], Text: text.String(), HTML: html.String()}, nil
}
