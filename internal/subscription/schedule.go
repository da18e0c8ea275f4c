package subscription

import "time"

// ReminderDays are how many days before the end of a trial its user is reminded, the last reminder first.
var ReminderDays = []int{1, 3}

// Window is a span of time, after Since and up to Until. The zero Since is before all times.
type Window struct{ Since, Until time.Time }

// Recipient is where the mails for a user go.
type Recipient struct {
	Email  string
	Locale string // en or vi
}
