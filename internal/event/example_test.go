package event_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// A domain returns a Handler from a function of decoded data; the wiring puts it behind a routing key, inside the limits
// that end a message's tries.
func Example() {
	policy := event.Policy{Levels: []time.Duration{time.Second, time.Minute}, GiveUpAfter: time.Hour}
	created := event.Handle(func(_ context.Context, e event.Received, d event.ProjectCreatedData) error {
		if d.ProjectID == "busy" {
			return errors.New("the store does not respond")
		}
		fmt.Println(e.ID, "created", d.ProjectID)
		return nil
	})
	router := event.NewRouter()
	router.On(event.ProjectCreated, event.Chain(created, event.Limit(policy, time.Now), event.Recover))

	for _, project := range []string{"p1", "busy", ""} {
		d := event.Delivery{Message: event.Message{
			RoutingKey: string(event.ProjectCreated),
			Body:       []byte(`{"event_id":"evt_1","payload":{"project_id":"` + project + `","user_id":"u1"}}`),
		}}
		err := router.Dispatch(context.Background(), d)
		decision := event.Decide(err, d, policy, false, time.Now())
		fmt.Println(decision.Action, decision.Outcome)
	}
	// Output:
	// evt_1 created p1
	// ack handled
	// retry retry
	// dead invalid
}

func ExampleQueue_RetryQueue() {
	q := event.Queue{Name: "identity.email", Retry: event.Policy{Levels: []time.Duration{30 * time.Second, 2 * time.Minute}}}
	fmt.Println(q.RetryQueue(0), q.RetryQueue(1), q.DeadQueue())
	// Output: identity.email.retry.30s identity.email.retry.2m identity.email.dead
}
