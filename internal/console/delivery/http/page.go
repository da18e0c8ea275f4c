// Package http serves the console of a standalone: a page on which a person goes the way of a user, and sees what every
// step causes. The page calls the public HTTP API with the cookies that the API sets; what it has of its own is below
// /dev.
package http

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/console"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/httpserver"
)

//go:embed page
var files embed.FS

const (
	flowRoute = "/dev/flow"
	// gather is how long changes are collected before they are sent: a step comes with the next ones.
	gather = 50 * time.Millisecond
	// beat is how often the time is sent when nothing happens, which also finds out that the browser is gone.
	beat = 5 * time.Second
)

// Options of the console; all are needed.
type Options struct {
	Recorder  *console.Recorder
	Guard     Guard
	Version   string
	Now       func() time.Time
	InboxPort func() int
	// Promote makes the user with this address an administrator.
	Promote func(ctx context.Context, email string) error
}

// Limits returns what [httpserver.Options] must hold in Routes for these routes.
func Limits() map[string]httpserver.Limits {
	return map[string]httpserver.Limits{http.MethodGet + " " + flowRoute: {Timeout: httpserver.NoTimeout}}
}

type handler struct {
	Options
	pages *template.Template
}

// Register registers the page at / and what it needs below /dev.
func Register(e *echo.Echo, o Options) {
	h := handler{o, template.Must(template.New("").Funcs(functions()).ParseFS(files, "page/*.tmpl"))}
	guard := o.Guard.Middleware // of each route: a group's would take every unknown path
	e.GET("/", h.page, guard)
	for name, kind := range map[string]string{
		"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		content, err := files.ReadFile(path.Join("page", name))
		if err != nil {
			panic(err) // it is embedded
		}
		e.GET("/dev/console/"+name, func(c echo.Context) error { return c.Blob(http.StatusOK, kind, content) }, guard)
	}
	e.GET(flowRoute, h.flow, guard)
	e.POST("/dev/promote", h.promote, guard)
}

// page allows its own script and style, and the frame of the inbox on the host that was asked for. Nothing of a mail, an
// event or an address can run in it.
//
// No policy can name an address of IPv6 (CSP Level 3 §2.3.1). The page at [::1] is therefore at localhost, and at any other
// such address it leads to the inbox instead of showing it.
func (h handler) page(c echo.Context) error {
	host := httpserver.HostName(c.Request().Host)
	address, err := netip.ParseAddr(host)
	isIPv6 := err == nil && address.Is6()
	if isIPv6 && address.IsLoopback() {
		_, port, _ := net.SplitHostPort(c.Request().Host)
		return c.Redirect(http.StatusTemporaryRedirect, "http://"+strings.TrimSuffix("localhost:"+port, ":")+"/")
	}
	inbox := "http://" + net.JoinHostPort(host, strconv.Itoa(h.InboxPort()))
	frames := inbox
	if isIPv6 {
		frames = "'none'"
	}
	c.Response().Header().Set(echo.HeaderContentSecurityPolicy, "default-src 'none'; script-src 'self'; style-src 'self'; "+
		"img-src 'self'; connect-src 'self'; frame-src "+frames+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	var b bytes.Buffer
	err = h.pages.ExecuteTemplate(&b, "console", struct {
		Version, Inbox string
		Framed         bool
		Now            time.Time
	}{h.Version, inbox + "/", !isIPv6, h.Now()})
	if err != nil {
		return err
	}
	return c.HTMLBlob(http.StatusOK, b.Bytes())
}

// changes is an event of the stream: rows of the table, the one that belongs on top last.
type changes struct {
	Rows []string  `json:"rows"`
	Now  time.Time `json:"now"`
}

// flow streams the paths of events: first all that are kept, then each that changes.
func (h handler) flow(c echo.Context) error {
	if !strings.Contains(c.Request().Header.Get(echo.HeaderAccept), "text/event-stream") {
		return echo.NewHTTPError(http.StatusNotAcceptable, "This is a stream of events: ask for text/event-stream")
	}
	if err := httpserver.Extend(c); err != nil {
		return err
	}
	// From here on an error means that the browser is gone, which is no failure.
	if events, err := httpserver.OpenEvents(c, httpserver.EventOptions{Retry: time.Second}); err == nil {
		h.sendChanges(c.Request().Context(), events)
	}
	return nil
}

func (h handler) sendChanges(ctx context.Context, events *httpserver.Events) {
	for last := uint64(0); ; {
		paths, newest, changed := h.Recorder.Since(last)
		last = newest
		rows := make([]string, len(paths))
		for i, p := range paths {
			rows[i] = h.row(p)
		}
		if events.Send("paths", "", changes{rows, h.Now()}) != nil {
			return
		}
		select {
		case <-changed:
			wait(ctx, gather)
		case <-time.After(beat):
		case <-ctx.Done():
			return
		case <-httpserver.Draining(ctx):
			return
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (h handler) row(p console.Path) string {
	var b strings.Builder
	_ = h.pages.ExecuteTemplate(&b, "row", p) // the builder takes everything, and the template has been tried by the tests
	return b.String()
}

var errPromotion = apperror.New(apperror.Invalid, http.StatusBadRequest, "The request is not valid")

// promote stands in for `standalone user promote`, for a person who has no terminal at hand.
func (h handler) promote(c echo.Context) error {
	var request struct {
		Email string `json:"email"`
	}
	if err := httpserver.BindStrict(c, &request, errPromotion); err != nil {
		return err
	}
	if request.Email == "" {
		return errPromotion.WithFields(map[string]string{"email": "is required"})
	}
	if err := h.Promote(c.Request().Context(), request.Email); err != nil {
		return err
	}
	return httpserver.Success(c, http.StatusOK, nil)
}

// stage is a column of the table.
type stage struct {
	Stage console.Stage
	Title string
}

// functions returns what the templates call.
func functions() template.FuncMap {
	return template.FuncMap{
		"stages": func() []stage {
			return []stage{
				{console.Outbox, "Outbox row"}, {console.Exchange, "Exchange"}, {console.Queue, "Queue"},
				{console.Handler, "Handler"}, {console.Effect, "Mail, Redis, database"},
			}
		},
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"moment": func(t time.Time) string { return t.UTC().Format(time.DateTime) },
		"short":  short,
		"after": func(p console.Path, s console.Step) string {
			return "+" + short(s.At.Sub(p.Begun))
		},
		"exact": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") },
		// parts are what a line may end behind.
		"parts": func(text string) []string { return regexp.MustCompile(`[^.:_]*[.:_]?`).FindAllString(text, -1) },
		"tone": func(s console.Step) string {
			if s.Failed || s.Stage == console.Queue && strings.HasSuffix(s.Where, ".dead") {
				return "bad"
			}
			return ""
		},
	}
}

// short formats a duration with the digits that matter to a person.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 48*time.Hour:
		return d.Truncate(time.Second).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
