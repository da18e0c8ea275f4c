package httpserver

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/apperror"
)

// Envelope is the shape of every response (docs/compatibility.md). The front end decides by ErrorCode and shows
// Message.
type Envelope struct {
	ErrorCode int               `json:"error_code"`
	Message   string            `json:"message"`
	Data      any               `json:"data,omitempty"`
	Errors    map[string]string `json:"errors,omitempty"` // problem per request field
}

// Success responds with data (nil for none) and error_code 0.
func Success(c echo.Context, status int, data any) error {
	return c.JSON(status, Envelope{Message: "Success", Data: data})
}

// StatusOf returns the HTTP status of an error's kind. It is the only such mapping.
func StatusOf(kind apperror.Kind) int {
	switch kind {
	case apperror.Invalid:
		return http.StatusBadRequest
	case apperror.Unauthorized:
		return http.StatusUnauthorized
	case apperror.Forbidden:
		return http.StatusForbidden
	case apperror.NotFound:
		return http.StatusNotFound
	case apperror.Conflict:
		return http.StatusConflict
	case apperror.RateLimited:
		return http.StatusTooManyRequests
	case apperror.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
