package httpserver

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/apperror"
)

// Bind reads one JSON object from the request body into target. Unknown fields are ignored, as the existing front
// end needs (docs/compatibility.md). It answers 415 for another content type, 413 for a body over the server's limit, and
// malformed (the domain's own "body" error) for everything that is not JSON of the right types.
func Bind(c echo.Context, target any, malformed *apperror.Error) error {
	media, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType))
	if err != nil || media != echo.MIMEApplicationJSON {
		return echo.NewHTTPError(http.StatusUnsupportedMediaType, "Send JSON with Content-Type: application/json")
	}
	dec := json.NewDecoder(c.Request().Body)
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
	return malformed.WithFields(map[string]string{"body": "is not one JSON object"})
}
