// Package http serves the operations console of a consumer: pages rendered here, that work without a script, and with one
// follow what happens.
package http

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/status"
	"github.com/smap-platform/identity/pkg/httpserver"
)

//go:embed page
var files embed.FS

// Options of the console.
type Options struct {
	Access  Access
	Version string
	Now     func() time.Time
	Log     zerolog.Logger
	// Facts are how the service is, as far as this process knows.
	Facts func(ctx context.Context) status.Facts
	// History is how it has been.
	History    *operations.History
	Processes  operations.Processes
	Scheduler  operations.Scheduler
	Migrations operations.Migrations
	// Desk is where dead letters are looked at.
	Desk     *operations.Desk
	Lanes    operations.Lanes
	People   operations.People
	Projects operations.Projects
	Record   operations.Record
}

// route is a page of the console, or something that it does.
type route struct {
	method, path string
	handle       echo.HandlerFunc
	nav          string // how the navigation calls it; empty: it is not there
}

type handler struct {
	Options
	access *access
	pages  map[string]*template.Template
	nav    []navItem
	live   chan struct{} // has a place for each open stream
}

// Limits returns what [httpserver.Options] must hold in Routes for these routes.
func Limits() map[string]httpserver.Limits {
	return map[string]httpserver.Limits{http.MethodGet + " " + liveRoute: {Timeout: httpserver.NoTimeout}}
}

// Register makes e the server of the console.
func Register(e *echo.Echo, o Options) { register(e, o) }

func register(e *echo.Echo, o Options) *handler {
	h := &handler{
		Options: o,
		access:  newAccess(o.Access, o.Now),
		pages:   parsePages(),
		live:    make(chan struct{}, streams),
	}
	e.HTTPErrorHandler = h.respondError
	e.Use(h.access.guard, protect)
	h.registerAssets(e)
	e.GET("/login", h.loginPage)
	e.POST("/login", h.login, httpserver.PerMinute(loginsPerMinute))
	e.GET("/", func(c echo.Context) error { return c.Redirect(http.StatusSeeOther, "/status") })
	for _, r := range h.routes() {
		e.Add(r.method, r.path, r.handle, h.entered)
		if r.nav != "" {
			h.nav = append(h.nav, navItem{r.path, r.nav})
		}
	}
	return h
}

// routes are all that an operator can ask for, in the order of the navigation.
func (h *handler) routes() []route {
	return slices.Concat(
		h.statusRoutes(),
		h.deadLetterRoutes(),
		h.laneRoutes(),
		h.personRoutes(),
		h.projectRoutes(),
		h.recordRoutes(),
		h.processRoutes(),
		[]route{{method: http.MethodPost, path: "/logout", handle: h.logout}, {method: http.MethodGet, path: liveRoute, handle: h.follow}},
	)
}

func (h *handler) registerAssets(e *echo.Echo) {
	for name, kind := range map[string]string{
		"operations.css": "text/css; charset=utf-8", "operations.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		content, err := files.ReadFile(path.Join("page", name))
		if err != nil {
			panic(err) // it is embedded
		}
		e.GET("/assets/"+name, func(c echo.Context) error { return c.Blob(http.StatusOK, kind, content) })
	}
}

// protect lets a page have its own script and style, and nothing of what it shows can run in it.
func protect(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		header := c.Response().Header()
		header.Set(echo.HeaderContentSecurityPolicy, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		// With no-referrer browsers would send no Origin with a form either.
		header.Set(echo.HeaderReferrerPolicy, "same-origin")
		return next(c)
	}
}

// entered has people log in first.
func (h *handler) entered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, ok := h.access.session(c); ok {
			return next(c)
		}
		r := c.Request()
		if r.Method != http.MethodGet || c.Path() == liveRoute {
			return echo.NewHTTPError(http.StatusUnauthorized, "You are logged out. Log in, and do it again.")
		}
		return c.Redirect(http.StatusSeeOther, "/login?"+loginQuery(r.URL.RequestURI()))
	}
}

// parsePages returns a template for each page: its own file between the parts that all have.
func parsePages() map[string]*template.Template {
	common := template.Must(template.New("").Funcs(functions()).ParseFS(files, "page/layout.tmpl", "page/parts.tmpl"))
	names, err := fs.Glob(files, "page/*.tmpl")
	if err != nil {
		panic(err) // the pattern is well-formed
	}
	pages := map[string]*template.Template{}
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".tmpl")
		if page != "layout" && page != "parts" {
			pages[page] = template.Must(template.Must(common.Clone()).ParseFS(files, name))
		}
	}
	return pages
}

type navItem struct{ Path, Label string }

// frame is what is around every page.
type frame struct {
	Title    string
	Section  string // the path in the navigation
	Nav      []navItem
	Version  string
	ReadOnly bool
	Entered  bool // an operator looks at it
	Token    bool // people log in, and out
	Paused   []status.Lane
	By       string // whose name the last change had
	FormKey  string
	Back     string // where a change returns to: this page
	Said     *said  // what became of the last change
	Typed    typed  // what its form held, if it was refused
	Now      time.Time
	Read     time.Time // when the facts were read
}

// view is what a page is rendered from.
type view struct {
	frame
	Data any
}

// render responds with the page of that template file.
func (h *handler) render(c echo.Context, page, title string, data any) error {
	return h.renderStatus(c, http.StatusOK, page, title, data)
}

func (h *handler) renderStatus(c echo.Context, code int, page, title string, data any) error {
	v := view{h.frame(c, title), data}
	var b bytes.Buffer
	if err := h.pages[page].ExecuteTemplate(&b, "layout", v); err != nil {
		return err
	}
	return c.HTMLBlob(code, b.Bytes())
}

func (h *handler) frame(c echo.Context, title string) frame {
	f := frame{
		Title:    title,
		Nav:      h.nav,
		Version:  h.Version,
		ReadOnly: h.Access.ReadOnly,
		Token:    h.Access.Token != "",
		Now:      h.Now(),
	}
	session, ok := h.access.session(c)
	if !ok {
		return f
	}
	r := c.Request()
	f.Entered, f.FormKey, f.By, f.Said = true, h.access.formKey(session), h.operator(c), h.takeSaid(c)
	if f.Said != nil {
		f.Typed = f.Said.Typed
		f.By = cmp.Or(f.Typed.By, f.By)
	}
	f.Back = r.URL.RequestURI()
	for _, item := range h.nav {
		if c.Path() == item.Path || strings.HasPrefix(c.Path(), item.Path+"/") {
			f.Section = item.Path
		}
	}
	facts := h.Facts(r.Context())
	f.Read = facts.At
	for _, lane := range facts.Lanes {
		if lane.Paused || lane.Halt != nil {
			f.Paused = append(f.Paused, lane)
		}
	}
	return f
}
