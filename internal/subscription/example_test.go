package subscription_test

import (
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/subscription"
)

// A cancelled trial stays in force until its end.
func ExampleSubscription_EffectiveUntil() {
	start := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	s := subscription.NewTrial("sub-1", "user-1", subscription.Plan{ID: "plan-1", Code: subscription.FreePlanCode}, start)
	const grace = 14 * subscription.Day
	if _, err := s.Transition(subscription.StatusCancelled, subscription.Owner, start.Add(time.Hour), grace); err != nil {
		fmt.Println(err)
	}
	fmt.Println(s.Status, s.Entitled(start.Add(time.Hour), grace), s.EffectiveUntil(grace).Format(time.DateTime))
	// Output:
	// cancelled true 2026-02-14 09:30:00
}
