package subscription

import "github.com/smap-platform/identity/pkg/apperror"

// The errors of this domain, with the codes that the front end acts on (docs/compatibility.md).
var (
	ErrBody         = apperror.New(apperror.Invalid, 130001, "The request is not valid")
	ErrNotFound     = apperror.New(apperror.NotFound, 130002, "Subscription not found")
	ErrTimes        = apperror.New(apperror.Invalid, 130004, "The times of the subscription do not fit together")
	ErrOutdated     = apperror.New(apperror.Conflict, 130004, "A newer state of this user has been applied")
	ErrInvalidID    = apperror.New(apperror.Invalid, 130006, "This is not a subscription id")
	ErrActiveExists = apperror.New(apperror.Conflict, 130007, "The user has a subscription that is still in force")
	ErrStatus       = apperror.New(apperror.Conflict, 130008, "The subscription cannot have this status")
	ErrCannotCancel = apperror.New(apperror.Conflict, 130009, "Only a live subscription can be cancelled")

	ErrPlanBody     = apperror.New(apperror.Invalid, 120001, "The request is not valid")
	ErrPlanNotFound = apperror.New(apperror.NotFound, 120002, "Plan not found")
	ErrPlanExists   = apperror.New(apperror.Conflict, 120003, "Another plan has this name or code")
	ErrPlanID       = apperror.New(apperror.Invalid, 120006, "This is not a plan id")
	ErrPlanInUse    = apperror.New(apperror.Conflict, 120007, "The plan is in use")

	ErrNoUser    = apperror.New(apperror.NotFound, 10002, "User not found")
	ErrUserID    = apperror.New(apperror.Invalid, 10006, "This is not a user id")
	ErrForbidden = apperror.New(apperror.Forbidden, 403, "Only an administrator may do this")
)
