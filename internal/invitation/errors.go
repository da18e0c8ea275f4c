package invitation

import (
	"time"

	"github.com/smap-platform/identity/pkg/apperror"
)

// uploadTime is how long most uploads take.
const uploadTime = 10 * time.Second

// The errors of this domain with the codes the front end decides by (docs/compatibility.md).
var (
	ErrBody          = apperror.New(apperror.Invalid, 20001, "The request is not valid")
	ErrInvalid       = apperror.New(apperror.Invalid, 20012, "This invitation is not valid; ask whoever invited you")
	ErrUsed          = apperror.New(apperror.Conflict, 20013, "This invitation has been used already; please log in")
	ErrExpired       = apperror.New(apperror.Invalid, 20014, "This invitation has expired; register, or ask whoever invited you")
	ErrBatchNotFound = apperror.New(apperror.NotFound, 20015, "There are no such invitations")
	ErrUpload        = apperror.New(apperror.Invalid, 20016, "The list of addresses cannot be used")
	ErrKeyReused     = apperror.New(apperror.Conflict, 20017, "This Idempotency-Key belongs to another upload; use a new one")

	// ErrTooManyUploads: the administrator has as many uploads under way as they may.
	ErrTooManyUploads = apperror.New(apperror.RateLimited, 429, "Your other uploads are still under way; try again when one has ended").
				WithAfter(uploadTime)
	// ErrUploadsFull: the process has as many uploads under way as it takes.
	ErrUploadsFull = apperror.New(apperror.Unavailable, 503, "Other uploads are under way; please try again in a moment").
			WithAfter(uploadTime)

	ErrForbidden       = apperror.New(apperror.Forbidden, 403, "Only an administrator may do this")
	ErrUnauthenticated = apperror.New(apperror.Unauthorized, 401, "Please log in")

	// ErrNotFound never leaves the domain: there is no such invitation any more.
	ErrNotFound = apperror.New(apperror.NotFound, 404, "There is no such invitation")
	// ErrAccountNotFound never leaves the domain: the account was deleted or never existed.
	ErrAccountNotFound = apperror.New(apperror.NotFound, 20002, "User not found")
)
