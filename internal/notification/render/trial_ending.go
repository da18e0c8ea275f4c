package render

import (
	"time"

	"github.com/smap-platform/identity/internal/notification"
)

// trialEnding is the reminder that a trial is about to end.
const trialEnding = "trial_ending"

// TrialEnding returns the reminder of a trial that ends in days, 1 or more. trialEnd is shown as the minute, in UTC, up
// to which the trial certainly lasts.
func (r *Renderer) TrialEnding(locale string, days int, trialEnd time.Time) (notification.Content, error) {
	return r.render(trialEnding, locale, struct {
		Days  int
		Until time.Time
	}{days, trialEnd.UTC()}, nil)
}
