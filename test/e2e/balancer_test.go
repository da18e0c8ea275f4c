//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
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

// TestBalancerTellsClientsApart checks that the apis behind nginx limit the client that floods login, and not the one that
// logs in meanwhile: they know both by the address that nginx has seen.
func TestBalancerTellsClientsApart(t *testing.T) {
	t.Parallel()
	balancer := harness.NewBalancer(t)
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	p := registered(t, s) // at an api of its own: the cookie of a browser is for one host
	p.verify(t)
	for _, env := range balancer.APIs {
		api := s.NewAPI(env...)
		require.NoError(t, api.Start(t.Context()))
		s.Ready(api)
	}

	const apis, perMinute = 2, 60
	flood := map[int]int{}
	for range 2 * apis * perMinute {
		flood[loginFrom(t, "127.0.2.1", balancer.URL, "stranger@example.com", "a wrong password")]++
		if flood[http.StatusTooManyRequests] > 0 {
			break
		}
	}
	require.Equal(t, map[int]int{http.StatusUnauthorized: 10, http.StatusTooManyRequests: 1}, flood)
	for range 2 * apis * perMinute { // of other addresses, until both processes refuse it
		flood[loginFrom(t, "127.0.2.1", balancer.URL, p.email, "a wrong password")]++
	}
	require.Less(t, flood[http.StatusUnauthorized], 21, "ten for each address")
	require.Equal(t, http.StatusTooManyRequests, loginFrom(t, "127.0.2.1", balancer.URL, p.email, harness.Password))
	require.Equal(t, http.StatusOK, loginFrom(t, "127.0.3.1", balancer.URL, p.email, harness.Password))
}

// loginFrom logs in from an address of this host and returns the status.
func loginFrom(t *testing.T, address, url, email, password string) int {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	body := fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
	res, err := client.Post(url+"/authentication/login", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
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
