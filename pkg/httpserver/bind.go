package httpserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/verbatim"
)

// Bind reads one JSON object from the request body into target. It ignores unknown fields, as the existing front end
// needs (docs/compatibility.md). It returns a 415 for another content type, a 413 for a body over the route's limit,
// and malformed, the domain's own "body" error, for everything that is not JSON of the right types, and for text that a
// decoder would not hand on as it was sent ([verbatim.JSON]).
func Bind(c echo.Context, target any, malformed *apperror.Error) error {
	return bind(c, target, malformed, false)
}

// BindStrict is [Bind] for routes that no older client knows: an unknown field is malformed as well, so that a misspelt
// one is not silently ignored.
func BindStrict(c echo.Context, target any, malformed *apperror.Error) error {
	return bind(c, target, malformed, true)
}

func bind(c echo.Context, target any, malformed *apperror.Error, strict bool) error {
	media, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType))
	if err != nil || media != echo.MIMEApplicationJSON {
		return echo.NewHTTPError(http.StatusUnsupportedMediaType, "Send JSON with Content-Type: application/json")
	}
	body, err := io.ReadAll(c.Request().Body) // the route's limit bounds it
	if err != nil {
		return bindError(err, malformed)
	}
	if !verbatim.JSON(body) {
		return malformed.WithFields(map[string]string{"body": "is not UTF-8, or escapes half of a surrogate pair"})
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(target); err != nil {
		return bindError(err, malformed)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bindError(err, malformed)
	}
	return nil
}

func bindError(err error, malformed *apperror.Error) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return echo.NewHTTPError(http.StatusRequestEntityTooLarge, "The body is too large").SetInternal(tooLarge)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return malformed.WithFields(map[string]string{wrong.Field: "has the wrong type"})
	}
	if name, ok := unknownField(err); ok {
		return malformed.WithFields(map[string]string{name: "is not known"})
	}
	return malformed.WithFields(map[string]string{"body": "is not one JSON object"})
}

// maxFieldName is the longest field name, in bytes, that a response quotes from its request.
const maxFieldName = 64

// unknownField returns the field that a strict decoder refused. encoding/json has no type for that error.
func unknownField(err error) (name string, ok bool) {
	if err == nil {
		return "", false
	}
	quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !ok {
		return "", false
	}
	name, err = strconv.Unquote(quoted)
	if err != nil || len(name) > maxFieldName {
		return "one of the fields", true
	}
	return name, true
}

// HasBody reports whether r has a body. It peeks at the first byte, because a chunked body has no length; the next
// reader still gets that byte, or the error.
func HasBody(r *http.Request) bool {
	body := bufio.NewReader(r.Body)
	_, err := body.Peek(1)
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	return !errors.Is(err, io.EOF)
}
