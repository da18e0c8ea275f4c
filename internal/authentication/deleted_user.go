package authentication

import "time"

// DeletedUser is a user whose account was deleted, and whose data are to be erased.
type DeletedUser struct {
	ID        string
	Email     string
	DeletedAt time.Time
	// Until is when the address became another's, or when it was last known to be nobody's: what was stored for it before is
	// to be erased.
	Until time.Time
	// Emptied says that the database holds nothing of them any more, not even the address.
	Emptied bool
}
