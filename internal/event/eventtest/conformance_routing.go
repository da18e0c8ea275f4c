package eventtest

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

func done(context.Context, event.Delivery) error { return nil }

func routing(b *bench) {
	b.open(event.Policy{}, 1, time.Second,
		[]string{"email.#"}, []string{"*.created", "sub.*"}, []string{"#"}, []string{"email.*.requested", "a.#.z"})
	want := map[string]string{ // key → which queues
		"email":                        "ac",
		"email.verification.requested": "acd",
		"email.requested":              "ac",
		"sub.created":                  "bc", // two patterns of one queue: one copy
		"sub.x.created":                "c",
		"project.created":              "bc",
		"a.z":                          "cd",
		"a.b.c.z":                      "cd",
		"a.b.c":                        "c",
		"email.":                       "ac",
		"emails.created":               "bc",
	}
	c := b.consume(done)
	total := 0
	for key, queues := range want {
		b.mustSend(b.message(key))
		total += len(queues)
	}
	got := map[string]map[string]int{}
	for range total {
		seen := Next(b.T, c.Seen)
		key, queue := seen.Delivery.RoutingKey[len(b.run)+1:], seen.Queue[len(seen.Queue)-1:]
		if got[key] == nil {
			got[key] = map[string]int{}
		}
		got[key][queue]++
	}
	c.stop()
	require.Empty(b, c.Seen, "more copies than there are queues")
	for key, queues := range want {
		expected := map[string]int{}
		for _, q := range queues {
			expected[string(q)] = 1
		}
		require.Equal(b, expected, got[key], "key %q", key)
	}
}

func unroutable(b *bench) {
	b.open(event.Policy{}, 1, time.Second, []string{"known.#"})
	known, unknown, optional := b.message("known"), b.message("nobody"), b.message("nobody")
	optional.Mandatory = false
	results := b.send(known, unknown, optional, known, unknown)
	require.NoError(b, results[0])
	require.ErrorIs(b, results[1], event.ErrUnroutable)
	require.NoError(b, results[2])
	require.NoError(b, results[3])
	require.ErrorIs(b, results[4], event.ErrUnroutable)
}

func defaultExchange(b *bench) {
	b.open(event.Policy{}, 1, time.Second)
	there, nowhere := b.message("direct"), b.message("direct")
	there.Exchange, there.RoutingKey = "", b.queues[0].Name
	nowhere.Exchange, nowhere.RoutingKey = "", b.queues[0].Name+".none"
	results := b.send(there, nowhere)
	require.NoError(b, results[0])
	require.ErrorIs(b, results[1], event.ErrUnroutable)
	c := b.consume(done)
	require.Equal(b, there.ID, b.next(c, event.Ack, "handled").Delivery.ID)
}

func properties(b *bench) {
	b.open(event.Policy{}, 1, time.Second)
	sent := b.message("whole")
	sent.Headers[event.HeaderTraceparent] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	sent.Headers["x-own"] = "kept"
	before := maps.Clone(sent.Headers)
	b.mustSend(sent)
	c := b.consume(done)
	got := b.next(c, event.Ack, "handled").Delivery
	sameMessage(b, sent, got.Message)
	require.Equal(b, event.Exchange, got.Exchange)
	require.Zero(b, got.HandedOut)
	require.Zero(b, got.Attempts())
	require.True(b, got.FirstFailed().IsZero())
	require.Equal(b, before, sent.Headers, "the sender's own map is left alone")
}

// sameMessage compares what must survive any number of moves.
func sameMessage(b *bench, want, got event.Message) {
	b.Helper()
	require.Equal(b, want.ID, got.ID)
	require.Equal(b, want.RoutingKey, got.RoutingKey)
	require.Equal(b, want.ContentType, got.ContentType)
	require.Equal(b, string(want.Body), string(got.Body))
	require.True(b, want.Timestamp.Equal(got.Timestamp), "%s became %s", want.Timestamp, got.Timestamp)
	for name, value := range want.Headers {
		require.Equal(b, value, got.Headers[name], "header %s", name)
	}
}

func workers(b *bench) {
	const n = 3
	b.open(event.Policy{}, n, time.Second)
	var together sync.WaitGroup
	together.Add(n)
	over := make(chan struct{}, 2*n)
	c := b.consume(func(context.Context, event.Delivery) error {
		over <- struct{}{}
		together.Done()
		together.Wait() // only n at a time get out of here
		return nil
	})
	b.mustSend(b.message("one"), b.message("two"), b.message("three"))
	for range n {
		b.next(c, event.Ack, "handled")
	}
	require.Len(b, over, n)
}
