package httpserver

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/pkg/apperror"
)

// statusClientGone is what nginx logs for a client that disconnected before the response. It is never sent.
const statusClientGone = 499

// internalMessage is all that a client learns about a defect of the service.
const internalMessage = "Internal server error"

// retryAfter is after how many seconds a client may try again, by status. A new code is due after a minute.
var retryAfter = map[int]string{
	http.StatusTooManyRequests:    "60",
	http.StatusServiceUnavailable: "5",
}

// suggestRetry sets Retry-After on every 429 and 503, health checks included, unless a handler has.
func suggestRetry(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Response()
		r.Before(func() {
			if after, ok := retryAfter[r.Status]; ok && r.Header().Get(echo.HeaderRetryAfter) == "" {
				r.Header().Set(echo.HeaderRetryAfter, after)
			}
		})
		return next(c)
	}
}

// respondError returns the one place where an error becomes a response. It logs nothing: the request's line does.
func respondError(wordings map[string]Wording) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Response().Committed {
			return // part of a response has been sent; a second one would corrupt it
		}
		status, body := responseTo(c.Request().Context(), err)
		if known, ok := errors.AsType[*apperror.Error](err); ok && known.After > 0 {
			seconds := int(math.Ceil(known.After.Seconds()))
			c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(seconds))
		}
		// Both fail only when the client has disconnected.
		if c.Request().Method == http.MethodHead || status == statusClientGone {
			_ = c.NoContent(status)
			return
		}
		_ = c.JSON(status, translate(c.Request(), wordings, body))
	}
}

// responseTo returns what the client may know about err, in English.
func responseTo(ctx context.Context, err error) (status int, body Envelope) {
	if errors.Is(ctx.Err(), context.Canceled) && errors.Is(err, context.Canceled) {
		return statusClientGone, Envelope{ErrorCode: statusClientGone}
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return plain(http.StatusRequestEntityTooLarge, "The body is too large")
	}
	if known, ok := errors.AsType[*apperror.Error](err); ok {
		status = StatusOf(known.Kind)
		if status == http.StatusInternalServerError {
			return status, Envelope{ErrorCode: known.Code, Message: internalMessage}
		}
		return status, Envelope{ErrorCode: known.Code, Message: known.Message, Errors: known.Fields}
	}
	if refused, ok := errors.AsType[*echo.HTTPError](err); ok {
		message, isText := refused.Message.(string)
		if !isText || refused.Code >= http.StatusInternalServerError {
			message = http.StatusText(refused.Code)
		}
		return plain(refused.Code, message)
	}
	return plain(http.StatusInternalServerError, internalMessage)
}

// plain returns a response whose error_code is the status itself.
func plain(status int, message string) (int, Envelope) {
	return status, Envelope{ErrorCode: status, Message: message}
}
