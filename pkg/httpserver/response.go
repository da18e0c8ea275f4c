package httpserver

import (
	"cmp"
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

var statuses = map[apperror.Kind]int{
	apperror.Invalid:      http.StatusBadRequest,
	apperror.Unauthorized: http.StatusUnauthorized,
	apperror.Forbidden:    http.StatusForbidden,
	apperror.NotFound:     http.StatusNotFound,
	apperror.Conflict:     http.StatusConflict,
	apperror.RateLimited:  http.StatusTooManyRequests,
	apperror.Unavailable:  http.StatusServiceUnavailable,
}

// StatusOf returns the HTTP status of an error's kind. It is the only such mapping.
func StatusOf(kind apperror.Kind) int { return cmp.Or(statuses[kind], http.StatusInternalServerError) }
