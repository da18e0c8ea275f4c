package authentication

import (
	"errors"

	"github.com/smap-platform/identity/pkg/apperror"
)

// The errors of this domain with the codes the front end decides by (docs/compatibility.md).
var (
	ErrBody            = apperror.New(apperror.Invalid, 20001, "The request is not valid")
	ErrUserNotFound    = apperror.New(apperror.NotFound, 20002, "User not found")
	ErrWrongPassword   = apperror.New(apperror.Unauthorized, 20004, "Wrong e-mail or password")
	ErrWrongCode       = apperror.New(apperror.Invalid, 20005, "Wrong code")
	ErrAlreadyVerified = apperror.New(apperror.Conflict, 20006, "This e-mail address is already verified")
	ErrCodeExpired     = apperror.New(apperror.Invalid, 20007, "This code has expired; request a new one")
	ErrTooManyTries    = apperror.New(apperror.RateLimited, 20008, "Too many wrong codes; request a new one")
	ErrNotVerified     = apperror.New(apperror.Forbidden, 20009, "This e-mail address is not verified yet")
	// ErrOtherBrowser: a code can be spent only by the browser that asked for it. Unknown addresses get it as well.
	ErrOtherBrowser = apperror.New(apperror.Invalid, 20018, "Use the browser that asked for this code, or log in to get a new one")
	// ErrDisabled is for those who know the password alone.
	ErrDisabled        = apperror.New(apperror.Forbidden, 20019, "This account is disabled; please contact support")
	ErrInvalidEmail    = apperror.New(apperror.Invalid, 20011, "This is not a valid e-mail address")
	ErrUnauthenticated = apperror.New(apperror.Unauthorized, 401, "Please log in")
	// ErrSessionNotFound: there is none, it is over, or it is another user's.
	ErrSessionNotFound = apperror.New(apperror.NotFound, 20020, "Session not found")

	// The errors of the routes below /users.
	ErrProfile   = apperror.New(apperror.Invalid, 10001, "The request is not valid")
	ErrNoUser    = apperror.New(apperror.NotFound, 10002, "User not found")
	ErrLastAdmin = apperror.New(apperror.Conflict, 10009, "This is the last active administrator; make another one first")
	ErrUserID    = apperror.New(apperror.Invalid, 10006, "This is not a user id")
	ErrForbidden = apperror.New(apperror.Forbidden, 403, "Only an administrator may do this")

	// ErrBusy: more passwords wait to be hashed than can be done in reasonable time.
	ErrBusy = apperror.New(apperror.Unavailable, 503, "The service is busy; please try again in a moment")
	// ErrCodeNotFound never leaves the domain: no request has this code.
	ErrCodeNotFound = apperror.New(apperror.NotFound, 404, "No code has been requested")
	// ErrTooSoon never leaves the domain: the last code was made so recently that no other is.
	ErrTooSoon = errors.New("authentication: a code has just been sent")
)
