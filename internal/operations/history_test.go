package operations_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/status"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)
	facts := status.Facts{Roles: []string{"api"}, Unknown: []string{"much"}}
	var counters operations.Counters
	h := operations.NewHistory(func(context.Context) status.Facts { return facts },
		func() operations.Counters { return counters }, func() time.Time { return now })
	require.Empty(t, h.Samples())
	require.NotEmpty(t, operations.Charts(nil))
	for range 1000 {
		now = now.Add(operations.SampleEvery)
		counters.Mails++
		h.Take(t.Context())
	}
	kept := h.Samples()
	require.Len(t, kept, 181)
	require.Equal(t, now, kept[180].At)
	require.Equal(t, now.Add(-operations.Window), kept[0].At)
	require.Empty(t, kept[0].Facts.Unknown)
	counters.Mails = 0 // which cannot be
	now = now.Add(10 * time.Minute)
	h.Take(t.Context())
	require.Equal(t, 62, len(h.Samples()), "time that has passed without samples")
}

func TestCharts(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)
	charts := map[string]operations.Chart{}
	for _, c := range operations.Charts([]operations.Sample{
		{At: at, Counters: operations.Counters{Consumed: 5}},
		{At: at.Add(5 * time.Second), Counters: operations.Counters{Consumed: 15, Mails: 1}, Facts: status.Facts{
			Roles: []string{"api", "consumer"}, Processes: []status.Group{{Role: "api", Count: 2}, {Role: "api", Version: "2", Count: 1}},
			Queues: []status.Queue{{Name: "a", Ready: new(4), Retry: new(3), Dead: new(2)}, {Name: "b", Ready: new(4)}},
			Lanes:  []status.Lane{{Queue: "a", Paused: true}, {Queue: event.Exchange}},
			Outbox: &status.Outbox{Rows: 7, Failed: 1, OldestDue: 2.5}, Mails: &status.Mails{Owed: 9},
		}},
	}) {
		charts[c.ID] = c
	}
	last := func(chart string, line int) *float64 { return charts[chart].Lines[line].Last() }
	require.Equal(t, new(7.0), last(operations.ChartWaiting, 0))
	require.Nil(t, last(operations.ChartWaiting, 1), "part of it is unknown")
	require.Nil(t, charts[operations.ChartWaiting].Lines[0].Points[0].Value, "before, all of it was")
	require.Equal(t, new(2.0), last(operations.ChartDead, 0))
	require.Equal(t, new(1.0), last(operations.ChartLanes, 0))
	require.Equal(t, new(0.0), last(operations.ChartLanes, 1))
	require.Equal(t, new(7.0), last(operations.ChartOutbox, 0))
	require.Equal(t, new(1.0), last(operations.ChartOutbox, 1))
	require.Equal(t, new(2.5), last(operations.ChartOutboxAge, 0))
	require.Equal(t, new(9.0), last(operations.ChartOwed, 0))
	require.Equal(t, new(3.0), last(operations.ChartProcesses, 0))
	require.Equal(t, new(0.0), last(operations.ChartProcesses, 1))
	require.Equal(t, new(0.0), last(operations.ChartRates, 0))
	require.Equal(t, new(2.0), last(operations.ChartRates, 1))
	require.Equal(t, new(0.2), last(operations.ChartRates, 2))
	require.Nil(t, charts[operations.ChartRates].Lines[1].Points[0].Value, "there is none before the second")
}
