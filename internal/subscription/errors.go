package subscription

import "github.com/smap-platform/identity/pkg/apperror"

// The errors of this domain, with the codes that the front end acts on (docs/compatibility.md).
var (
	ErrBody         = apperror.New(apperror.Invalid, 130001, "The request is not valid")
	ErrNotFound     = apperror.New(apperror.NotFound, 130002, "Subscription not found")
	ErrInvalidID    = apperror.New(apperror.Invalid, 130006, "This is not a subscription id")
	ErrActiveExists = apperror.New(apperror.Conflict, 130007, "The user already has a live subscription")
	ErrStatus       = apperror.New(apperror.Conflict, 130008, "The subscription cannot have this status")
	ErrCannotCancel = apperror.New(apperror.Conflict, 130009, "Only a live subscription can be cancelled")
)
