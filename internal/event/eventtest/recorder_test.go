package eventtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

func TestRecorder(t *testing.T) {
	t.Parallel()
	var r eventtest.Recorder
	good := event.Event{ID: "evt_1", Key: event.SubscriptionCreated, Time: time.Now(), Data: event.SubscriptionCreatedData{
		Version: 1, SubscriptionID: "s", UserID: "u", PlanCode: "free", Status: "trialing",
	}}
	require.NoError(t, r.Publish(context.Background(), good))
	require.Error(t, r.Publish(context.Background(), event.Event{ID: "evt_2", Key: "a.b"}), "what a real publisher refuses")
	r.Err = errors.New("down")
	require.ErrorIs(t, r.Publish(context.Background(), good), r.Err)
	require.Equal(t, []event.Event{good}, r.Events())
}
