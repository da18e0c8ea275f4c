//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestBalancer replaces the apis behind nginx, which does not ask whether they are ready, one after the other. Not one of
// the requests fails, with and without keep-alive. None may be sent twice: a POST is not.
func TestBalancer(t *testing.T) {
	t.Parallel()
	balancer := harness.NewBalancer(t)
	// The stop is shorter than by default: two seconds, and at most another until new connections are refused.
	s := harness.New(t, harness.Options{Env: map[string]string{"DRAIN_DELAY": "2s", "SHUTDOWN_TIMEOUT": "4s", "LOGGER_LEVEL": "info"}})
	for _, env := range balancer.APIs {
		s.NewAPI(env...)
	}
	require.NoError(t, s.StartAll(t.Context()))

	const clients, perClient = 16, 50 // requests a second of each
	stop := make(chan struct{})
	var running sync.WaitGroup
	var sent atomic.Int64
	for i := range clients {
		running.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
			tick := time.NewTicker(time.Second / perClient)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				sent.Add(1)
				if !assert.NoError(t, refusedCode(client, balancer.URL)) {
					return
				}
			}
		})
	}
	for range 2 {
		for _, api := range s.APIs {
			wait(t, 500*time.Millisecond)
			s.Terminate(api)
			require.NoError(t, api.Start(t.Context()))
			s.Ready(api)
		}
	}
	close(stop)
	running.Wait()
	t.Logf("%d requests", sent.Load())
}

// refusedCode sends a request that every api responds to with a 400.
func refusedCode(client *http.Client, url string) error {
	res, err := client.Post(url+"/authentication/verify-otp", "application/json", strings.NewReader(`{"email":"a@example.com","otp":"1"}`))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusBadRequest {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return errors.Join(err, res.Body.Close())
}
