//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/test/harness"
)

// TestBalancer replaces the apis behind nginx, which does not ask whether they are ready, one after the other. Not one of
// the requests fails, with and without keep-alive. None may be sent twice: a POST is not. The stream of a project is asked
// for again as a browser does, and shows each step and the end.
func TestBalancer(t *testing.T) {
	t.Parallel()
	balancer := harness.NewBalancer(t)
	// The stop is shorter than by default: two seconds, and at most another until new connections are refused.
	s := harness.New(t, harness.Options{
		Env: map[string]string{"DRAIN_DELAY": "2s", "SHUTDOWN_TIMEOUT": "4s", "LOGGER_LEVEL": "info"},
	})
	s.NewConsumer()
	for _, env := range balancer.APIs {
		s.NewAPI(env...)
	}
	require.NoError(t, s.StartAll(t.Context()))
	watched := watchBehind(t, s, balancer)

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
			watched.step(t, s)
		}
	}
	watched.step(t, s)
	close(stop)
	running.Wait()
	connections := <-watched.ended
	require.Greater(t, connections, 1, "the api of the first has been replaced")
	t.Logf("%d requests, %d connections of the stream", sent.Load(), connections)
}

// watched is a project of five items whose stream comes through nginx.
type watched struct {
	id    string
	steps int
	seen  chan progress // done counts up
	ended chan int      // the connections that the stream took until it said that the project is complete
}

// watchBehind begins a project and opens its stream, as often as the api behind it goes away.
func watchBehind(t *testing.T, s *harness.TestSystem, balancer *harness.Balancer) *watched {
	t.Helper()
	browser := balancer.Client()
	p := &person{email: harness.Email(), client: browser}
	want(t, http.StatusCreated)(browser.Register(t.Context(), p.email, harness.Password))
	p.id = userID(t, s, p.email)
	p.readMail(t, s)
	p.verify(t) // which logs in
	w := &watched{id: "proj_" + p.id, seen: make(chan progress, 100), ended: make(chan int, 1)}
	want(t, http.StatusOK)(s.Client().Call(t.Context(), http.MethodPost, "/internal/projects/"+w.id,
		map[string]any{"user_id": p.id, "total": 5}, "X-Internal-Key", os.Getenv("INTERNAL_KEY")))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var watching sync.WaitGroup
	watching.Go(func() {
		var last progress
		for connections := 1; ctx.Err() == nil; connections++ {
			err := browser.Stream(ctx, "/projects/"+w.id+"/progress/stream", func(e harness.ServerEvent) {
				var have progress
				assert.NoError(t, e.Decode(&have), e.Data)
				assert.GreaterOrEqual(t, have.Done, last.Done, "progress does not go backwards")
				last = have
				w.seen <- have
			})
			if last.Status == "DONE" {
				w.ended <- connections
				return
			}
			if ctx.Err() == nil && !assert.NoError(t, err, "connection %d", connections) {
				break
			}
			select { // a browser waits as well
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		close(w.ended)
	})
	t.Cleanup(func() { cancel(); watching.Wait() })
	w.await(t, 0)
	return w
}

// step counts an item and waits until the stream shows it.
func (w *watched) step(t *testing.T, s *harness.TestSystem) {
	t.Helper()
	w.steps++
	want(t, http.StatusOK)(s.Client().Call(t.Context(), http.MethodPost, "/internal/projects/"+w.id+"/items",
		map[string]any{"items": []any{map[string]any{"item_id": fmt.Sprint(w.steps)}}}, "X-Internal-Key", os.Getenv("INTERNAL_KEY")))
	w.await(t, w.steps)
}

func (w *watched) await(t *testing.T, done int) {
	t.Helper()
	patience := time.After(harness.Patience)
	for {
		select {
		case have := <-w.seen:
			if have.Done == done {
				return
			}
		case <-patience:
			require.FailNow(t, "the stream does not show the item", "%d", done)
		}
	}
}

// TestBalancerHidesInternalRoutes checks that nginx lets nobody outside reach what is for other services and operators,
// however it is written, while the apis serve it on the same port.
func TestBalancerHidesInternalRoutes(t *testing.T) {
	t.Parallel()
	balancer := harness.NewBalancer(t)
	s := harness.New(t, harness.Options{})
	for _, env := range balancer.APIs {
		s.NewAPI(env...)
	}
	require.NoError(t, s.StartAll(t.Context()))
	outside := balancer.Client()
	internal := append(apitest.New(t).Internal(), "GET /metrics")
	require.Greater(t, len(internal), 5)
	for _, pattern := range internal {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer(":id", uuid.NewString()).Replace(path)
		if path != "/metrics" {
			a, err := s.Client().Call(t.Context(), method, path, `{}`, "X-Internal-Key", os.Getenv("INTERNAL_KEY"))
			require.NoError(t, err)
			require.NotContains(t, []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed}, a.ErrorCode,
				"the api itself serves %s", pattern)
		}
		for _, written := range []string{
			path, "/identity" + path, path + "/", path + "?a=b", "/" + path, "/identity/" + path, "/live/.." + path, "/." + path,
			strings.Replace(path, "internal", "%69nternal", 1), strings.Replace(path, "metrics", "metric%73", 1),
			"/identity%2f" + path[1:], strings.ReplaceAll(path, "/", "/./"),
		} {
			a, err := outside.Call(t.Context(), method, written, `{}`, "X-Internal-Key", os.Getenv("INTERNAL_KEY"))
			require.NoError(t, err, written)
			require.Equal(t, http.StatusNotFound, a.Status, "%s: %s", written, a.Raw)
			require.Equal(t, http.StatusNotFound, a.ErrorCode, "it is not what the service says of a thing: %s", written)
		}
	}
	want(t, http.StatusOK)(outside.Call(t.Context(), http.MethodGet, "/plans", nil))
	want(t, http.StatusOK)(outside.Call(t.Context(), http.MethodGet, "/identity/live", nil))
	// Paths that only begin alike are the service's own business.
	for _, path := range []string{"/metricsx", "/internals", "/users/internalx"} {
		a, err := outside.Call(t.Context(), http.MethodGet, path, nil)
		require.NoError(t, err)
		require.NotEmpty(t, a.Header.Get("X-Request-Id"), "%s comes from the service", path)
	}
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
