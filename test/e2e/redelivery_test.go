//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestRedelivery delivers events again, late and in any order.
func TestRedelivery(t *testing.T) {
	t.Parallel()
	t.Run("an event that comes five times is one mail", duplicateMailEvents)
	t.Run("a late subscription event never moves the state backwards", lateVersions)
	t.Run("state rebuild restores what Redis has lost", rebuildState)
}

// duplicateMailEvents delivers the same event three times before it is handled and twice afterwards.
func duplicateMailEvents(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1})
	recorded := recordEvents(t, s)
	p := register(t, s)
	event := recorded.wait("email.verification.requested", p.id)
	again := func() {
		s.Publish(harness.Exchange, event.RoutingKey, amqp.Publishing{
			MessageId: event.MessageId, ContentType: event.ContentType, DeliveryMode: amqp.Persistent, Body: event.Body,
		})
	}
	again()
	again()
	s.StartReady(s.NewConsumer(), s.NewConsumer())
	p.readMail(t, s)
	handled(t, s, event.EventID, 3)
	again()
	handled(t, s, event.EventID, 4)
	require.Len(t, s.Mailbox.All(p.email), 1)
	p.verify(t)
	again() // the code is spent, so the mail is superseded
	handled(t, s, event.EventID, 5)
	require.Len(t, s.Mailbox.All(p.email), 1)
	require.Zero(t, s.QueueLength(emailQueue+".dead"))
}

// handled waits until so many copies of an event have been acked, by any consumer.
func handled(t *testing.T, s *harness.TestSystem, eventID string, copies int) {
	t.Helper()
	harness.Soon(t, func() error {
		n := 0
		for _, c := range s.Consumers {
			for _, line := range c.Log.Lines(0) {
				var l struct {
					EventID string `json:"event_id"`
					Message string
				}
				if json.Unmarshal([]byte(line), &l) == nil && l.EventID == eventID && l.Message == "event ack" {
					n++
				}
			}
		}
		if n < copies {
			return fmt.Errorf("%d of %d copies of %s have been handled", n, copies, eventID)
		}
		return nil
	})
}

// stateEvent publishes a subscription event, as another service's replay tool might.
func stateEvent(t *testing.T, s *harness.TestSystem, key, userID, status string, version int) (eventID string) {
	t.Helper()
	eventID = "evt_" + uuid.NewString()
	body, err := json.Marshal(map[string]any{
		"event_id": eventID, "timestamp": "2026-01-31T09:30:00.123Z",
		"payload": map[string]any{"service": "identity", "data": map[string]any{
			"version": version, "subscription_id": uuid.NewString(), "user_id": userID, "plan_code": "free",
			"status": status, "new_status": status, "effective_until": time.Now().Add(time.Hour).UTC(),
		}},
	})
	require.NoError(t, err)
	s.Publish(harness.Exchange, key, amqp.Publishing{MessageId: eventID, DeliveryMode: amqp.Persistent, Body: body})
	return eventID
}

// lateVersions delivers subscription events late and repeatedly.
func lateVersions(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 2})
	user, crowd := uuid.NewString(), uuid.NewString()
	for _, e := range []struct {
		key, status string
		version     int
		wanted      string
	}{
		{"subscription.status_changed", "active", 5, "active"},
		{"subscription.created", "trialing", 1, "active"},
		{"subscription.cancelled", "cancelled", 4, "active"},
		{"subscription.status_changed", "past_due", 10, "past_due"},
		{"subscription.status_changed", "active", 9, "past_due"},
		{"subscription.cancelled", "expired", 11, "expired"},
	} {
		handled(t, s, stateEvent(t, s, e.key, user, e.status, e.version), 1)
		require.Equal(t, e.wanted, subscriptionState(t, s, user, e.wanted)["status"], "after version %d", e.version)
	}

	// All at once, in any order.
	var ids []string
	for _, version := range []int{7, 3, 9, 1, 8, 2, 10, 4, 6, 5} {
		ids = append(ids, stateEvent(t, s, "subscription.status_changed", crowd, fmt.Sprintf("v%d", version), version))
	}
	for _, id := range ids {
		handled(t, s, id, 1)
	}
	require.Equal(t, "v10", subscriptionState(t, s, crowd, "v10")["status"])
}

// rebuildState checks that state rebuild writes what Redis has lost, and overwrites nothing newer.
func rebuildState(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	trialing, cancelled, newer := verified(t, s), verified(t, s), verified(t, s)
	path := "/subscriptions/" + mySubscription(t, cancelled).ID + "/cancel"
	want(t, http.StatusOK)(cancelled.client.Call(t.Context(), http.MethodPost, path, nil))
	before := map[*person]map[string]string{
		trialing:  subscriptionState(t, s, trialing.id, "trialing"),
		cancelled: subscriptionState(t, s, cancelled.id, "cancelled"),
	}
	subscriptionState(t, s, newer.id, "trialing")
	handled(t, s, stateEvent(t, s, "subscription.status_changed", newer.id, "active", 50), 1)
	for p := range before {
		require.NoError(t, s.Redis.Del(t.Context(), stateKey(p.id)).Err())
	}

	out := s.Command(nil, harness.Consumer, "state", "rebuild")
	require.Zero(t, out.Code, out.Stderr)
	require.Contains(t, out.Stdout, "read 3, written 2, already newer 1, failed 0")
	for p, hash := range before {
		require.Equal(t, hash, subscriptionState(t, s, p.id, hash["status"]))
		life, err := s.Redis.TTL(t.Context(), stateKey(p.id)).Result()
		require.NoError(t, err)
		require.InDelta(t, (44 * 24 * time.Hour).Seconds(), life.Seconds(), 60)
	}
	subscriptionState(t, s, newer.id, "active")
}
