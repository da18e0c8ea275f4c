package httpserver

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

// saneRequestID keeps a caller from writing arbitrary text into the log and the response.
var saneRequestID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// requestID responds with the caller's X-Request-ID, or a generated one when it is missing or not sane.
func requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !saneRequestID.MatchString(id) {
			id = uuid.NewString()
		}
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

// securityHeaders sets OWASP's headers for an API (REST Security Cheat Sheet). A page overrides them.
func securityHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderXFrameOptions, "DENY")
		h.Set(echo.HeaderContentSecurityPolicy, "frame-ancestors 'none'")
		h.Set(echo.HeaderReferrerPolicy, "no-referrer")
		h.Set(echo.HeaderCacheControl, "no-store")
		return next(c)
	}
}

// panicError is a recovered panic on its way to the log.
type panicError struct {
	cause any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.cause) }

// recoverPanic turns a panic into an error. It passes on http.ErrAbortHandler, net/http's own way to cut a connection.
func recoverPanic(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			err = &panicError{cause: cause, stack: debug.Stack()}
		}()
		return next(c)
	}
}

// stripPrefix runs before the router. echo routes by the escaped path when there is one.
func stripPrefix(prefix string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			u := c.Request().URL
			path, ok := cutPrefix(u.Path, prefix)
			raw, rawOK := cutPrefix(u.RawPath, prefix)
			if ok && (rawOK || u.RawPath == "") {
				u.Path, u.RawPath = path, raw
			}
			return next(c)
		}
	}
}

// cutPrefix is strings.CutPrefix for whole segments: "/identity" is no prefix of "/identityx".
func cutPrefix(path, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, prefix)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return "", false
	case rest == "":
		return "/", true
	default:
		return rest, true
	}
}
