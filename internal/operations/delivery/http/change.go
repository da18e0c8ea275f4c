package http

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/httpserver"
)

const (
	// longestName is how many characters an operator's name may have.
	longestName = 100
	// nameLife is how long a browser keeps the operator's name for the next form.
	nameLife = 30 * 24 * time.Hour
	// saidLife is how long what became of a change waits to be shown.
	saidLife = time.Minute
	// longestSaid bounds its text, and longestCookie all of it in bytes: browsers drop a cookie above 4 KiB, encoded.
	longestSaid   = 2000
	longestCookie = 2900
)

// said is what became of a change.
type said struct {
	Text  string `json:"text"`
	Bad   bool   `json:"bad,omitempty"`
	Typed typed  `json:"typed,omitzero"` // of a change that was refused
}

// typed is what a form held, for the page that follows to have it again.
type typed struct {
	By    string   `json:"by,omitempty"`
	Why   string   `json:"why,omitempty"`
	Rate  string   `json:"rate,omitempty"`
	Marks []string `json:"marks,omitempty"` // of the dead letters that were chosen
}

func typedIn(c echo.Context) typed {
	t := typed{By: strings.TrimSpace(c.FormValue("by")), Why: c.FormValue("why"), Rate: c.FormValue("rate")}
	ids := c.Request().PostForm["id"]
	for _, id := range ids[:min(len(ids), lettersShown)] {
		t.Marks = append(t.Marks, operations.MarkOf(id))
	}
	return t
}

// Chosen reports whether the dead letter of that mark was.
func (t typed) Chosen(mark string) bool { return slices.Contains(t.Marks, mark) }

var errName = echo.NewHTTPError(http.StatusBadRequest, "Say who you are: the record has your name beside what you do.")

// change returns the handler of a form that changes something, which what says ("replay dead letters"). do gets the name of
// the operator, who is in its context for the record as well, and returns what is shown on the page that follows. Its error
// is shown there, too.
func (h *handler) change(
	what string, do func(ctx context.Context, c echo.Context, by string) (message string, err error),
) echo.HandlerFunc {
	return func(c echo.Context) error {
		session, _ := h.access.session(c) // there is one: see entered
		if subtle.ConstantTimeCompare([]byte(c.FormValue("form")), []byte(h.access.formKey(session))) != 1 {
			return errForm
		}
		if h.Access.ReadOnly {
			return errReadOnly
		}
		by := strings.TrimSpace(c.FormValue("by"))
		if by == "" || utf8.RuneCountInString(by) > longestName || strings.ContainsFunc(by, unicode.IsControl) || !utf8.ValidString(by) {
			return h.back(c, said{errName.Message.(string), true, typedIn(c)})
		}
		setCookie(c, "by", base64.RawURLEncoding.EncodeToString([]byte(by)), nameLife)
		ctx := audit.WithOrigin(c.Request().Context(), audit.Origin{
			Operator:  by,
			RequestID: c.Response().Header().Get(echo.HeaderXRequestID),
		})
		message, err := do(ctx, c, by)
		if err != nil {
			h.Log.Warn().Err(err).Str("change", what).Msg("a change asked for in the console failed")
			return h.back(c, said{"Not done: " + textOf(err), true, typedIn(c)})
		}
		h.Log.Info().Str("change", what).Msg("an operator has changed something in the console")
		return h.back(c, said{Text: message})
	}
}

// back leads to the page that the form was on, which says what became of it.
func (h *handler) back(c echo.Context, s said) error {
	if len(s.Text) > longestSaid {
		s.Text = strings.ToValidUTF8(s.Text[:longestSaid], "") + "…"
	}
	encoded, err := json.Marshal(s)
	if len(encoded) > longestCookie { // the boxes are the most work to fill in again
		s.Typed = typed{Marks: s.Typed.Marks}
		encoded, err = json.Marshal(s)
	}
	if len(encoded) > longestCookie {
		s.Typed = typed{}
		encoded, err = json.Marshal(s)
	}
	if err != nil {
		return err
	}
	setCookie(c, "said", h.access.seal("said", base64.RawURLEncoding.EncodeToString(encoded)), saidLife)
	to := c.FormValue("back")
	if !isOwnPath(to) {
		to = "/status"
	}
	return c.Redirect(http.StatusSeeOther, to)
}

// takeSaid returns what became of the last change, once.
func (h *handler) takeSaid(c echo.Context) *said {
	cookie, err := c.Cookie(cookieName(c.Request(), "said"))
	if err != nil || c.Request().Header.Get("X-Live") != "" { // which shows parts of a page only
		return nil
	}
	setCookie(c, "said", "", 0)
	sealed, ok := h.access.open("said", cookie.Value)
	encoded, err := base64.RawURLEncoding.DecodeString(sealed)
	var s said
	if !ok || err != nil || json.Unmarshal(encoded, &s) != nil {
		return nil
	}
	return &s
}

// operator returns the name that the browser keeps.
func (h *handler) operator(c echo.Context) string {
	cookie, err := c.Cookie(cookieName(c.Request(), "by"))
	if err != nil {
		return ""
	}
	name, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || !utf8.Valid(name) {
		return ""
	}
	return string(name)
}

// textOf returns what an operator reads of an error.
func textOf(err error) string {
	if known, ok := errors.AsType[*apperror.Error](err); ok {
		text := known.Message
		fields := make([]string, 0, len(known.Fields))
		for field, problem := range known.Fields {
			fields = append(fields, field+" "+problem)
		}
		slices.Sort(fields)
		if len(fields) > 0 {
			text += ": " + strings.Join(fields, "; ")
		}
		return text
	}
	if refused, ok := errors.AsType[*echo.HTTPError](err); ok {
		return fmt.Sprint(refused.Message)
	}
	return err.Error()
}

// statusOf returns the status of an error, and what a page says of it. What is nobody's business is in the log.
func statusOf(err error) (code int, text string) {
	code = http.StatusInternalServerError
	if known, ok := errors.AsType[*apperror.Error](err); ok {
		code = httpserver.StatusOf(known.Kind)
	} else if refused, ok := errors.AsType[*echo.HTTPError](err); ok {
		code = refused.Code
	}
	if code == http.StatusInternalServerError {
		return code, "This page failed. The consumer's log says why."
	}
	return code, textOf(err)
}

// respondError responds with a page. What fails there means that the browser is gone.
func (h *handler) respondError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	code, text := statusOf(err)
	if errors.Is(err, errHost) || errors.Is(err, errSite) { // who asks has no business here
		_ = c.String(code, text)
		return
	}
	if code == http.StatusNotFound {
		text = "There is no such page."
	}
	if c.Request().Method == http.MethodHead || c.Path() == liveRoute ||
		h.renderStatus(c, code, "error", http.StatusText(code), text) != nil {
		_ = c.NoContent(code)
	}
}
