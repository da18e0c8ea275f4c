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
	if err := s.Cancel(start.Add(time.Hour)); err != nil {
		fmt.Println(err)
	}
	fmt.Println(s.Status, s.Live(start.Add(time.Hour)), s.EffectiveUntil().Format(time.DateTime))
	// Output:
	// cancelled false 2026-02-14 09:30:00
}
