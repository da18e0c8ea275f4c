package project

import "github.com/smap-platform/identity/pkg/apperror"

// The errors of this domain, with the codes that clients act on (docs/compatibility.md).
var (
	ErrBody     = apperror.New(apperror.Invalid, 140001, "The request is not valid")
	ErrNotFound = apperror.New(apperror.NotFound, 140002, "Project not found")
	ErrFinal    = apperror.New(apperror.Conflict, 140003, "The project is done or has failed; it is not changed any more")

	// ErrTooManyStreams: the user has as many streams open as they may.
	ErrTooManyStreams = apperror.New(apperror.RateLimited, 429, "Too many pages of yours are watching projects; close one of them")

	// ErrUnavailable means that Redis is unavailable. Every operation may be repeated.
	ErrUnavailable = apperror.New(apperror.Unavailable, 503,
		"Progress is not available right now; please try again in a moment")
)
