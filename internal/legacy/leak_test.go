package legacy

import (
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCutsLeakNothing runs alone: it counts goroutines.
func TestCutsLeakNothing(t *testing.T) {
	if os.Getenv("INTEGRATION") == "" {
		return
	}
	proxy, through := startProxy(t, newVirtualHost(t))
	before := stacksOfOurs()
	for range 5 { // each round begins with a short back-off
		s := NewSender(options(through, t.Name(), nil), false)
		r := NewReader(ReaderDeps{Connection: options(through, t.Name(), nil), Queue: ourQueue()})
		r.probeEvery = time.Millisecond // the queue is missing, and looked for all the time
		ctx, cancel := context.WithCancel(context.Background())
		var both sync.WaitGroup
		both.Go(func() { require.NoError(t, s.Run(ctx)) })
		both.Go(func() { require.NoError(t, r.Run(ctx)) })
		for range 2 {
			require.Eventually(t, func() bool { return s.live.Load() != nil }, 15*time.Second, time.Millisecond)
			proxy.Stop()
			require.Eventually(t, func() bool { return s.live.Load() == nil }, 15*time.Second, time.Millisecond)
			require.NoError(t, proxy.Start())
		}
		cancel()
		both.Wait()
	}
	require.Eventually(t, func() bool { return len(stacksOfOurs()) <= len(before) }, 10*time.Second, 20*time.Millisecond,
		"goroutines left behind:\n%s", strings.Join(stacksOfOurs(), "\n\n"))
}

// stacksOfOurs returns the stacks of this package's and the client library's goroutines.
func stacksOfOurs() (stacks []string) {
	all := make([]byte, 8<<20)
	all = all[:runtime.Stack(all, true)]
	for _, stack := range strings.Split(string(all), "\n\n") {
		if strings.Contains(stack, "amqp091-go") || strings.Contains(stack, "internal/legacy.(") ||
			strings.Contains(stack, "pkg/rabbitmq.") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
