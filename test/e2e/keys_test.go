//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// rotated are the keys that change without a break.
var rotated = []string{"JWT_SECRET", "INTERNAL_KEY", "CODE_HMAC_KEY", "EVENTS_SEAL_KEY"}

// TestKeys changes every key in the three steps of docs/operations.md, pod by pod, while people and services go on.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1, Env: map[string]string{
		"INVITATIONS_PER_SECOND": "1000", "INVITATION_URL": invitationURL, "DRAIN_DELAY": "1s",
	}})
	before, after := map[string]string{}, map[string]string{}
	for _, name := range rotated {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		before[name], after[name] = os.Getenv(name), base64.StdEncoding.EncodeToString(key)
	}
	admin := administrator(t, s)
	invited := newAddresses(2)
	admin.invite(t, invited)
	tokens := []string{invitationToken(t, s, invited[0]), invitationToken(t, s, invited[1])}
	waiting := []*person{registered(t, s), registered(t, s), registered(t, s)}
	old := verified(t, s)

	traffic := startTraffic(t, s, before["INTERNAL_KEY"])
	traffic.logIn(t)

	roll(t, s, before, after) // 1: accepted everywhere
	waiting[0].verify(t)
	traffic.keys.Store(&[]string{before["INTERNAL_KEY"], after["INTERNAL_KEY"]})

	half := s.Processes()[:1]
	rollOnly(t, s, half, after, before) // 2, half of it
	waiting[1].verify(t)
	want(t, http.StatusOK)(accept(t, s.Client(), tokens[0]))
	fresh := registered(t, s)
	rollOnly(t, s, s.Processes()[1:], after, before)
	waiting[2].verify(t)
	fresh.verify(t)
	want(t, http.StatusOK)(accept(t, s.Client(), tokens[1]))
	want(t, http.StatusOK)(old.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	traffic.logIn(t) // a day later nobody has an old token
	traffic.keys.Store(&[]string{after["INTERNAL_KEY"]})

	roll(t, s, after, nil) // 3: forgotten
	refused(t, http.StatusUnauthorized, http.StatusUnauthorized)(old.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	refused(t, http.StatusUnauthorized, http.StatusUnauthorized)(s.Client().Call(t.Context(), http.MethodGet, "/users/internal/"+old.id, nil,
		"X-Internal-Key", before["INTERNAL_KEY"]))
	traffic.end(t)
	s.OutboxEmpty()
	require.Zero(t, s.Count("SELECT count(*) FROM outbox"))
	for _, p := range s.Processes() {
		require.False(t, p.Log.Contains("another EVENTS_SEAL_KEY"), p.Name)
		for _, name := range rotated {
			require.False(t, p.Log.Contains(before[name]) || p.Log.Contains(after[name]), "%s logs %s", p.Name, name)
		}
	}
}

func roll(t *testing.T, s *harness.TestSystem, first, other map[string]string) {
	t.Helper()
	rollOnly(t, s, s.Processes(), first, other)
}

// rollOnly replaces processes, one after the other, by ones that use first and accept other.
func rollOnly(t *testing.T, s *harness.TestSystem, processes []*harness.Process, first, other map[string]string) {
	t.Helper()
	for _, p := range processes {
		s.Terminate(p)
		for _, name := range rotated {
			p.Setenv(name, first[name])
			p.Setenv(name+"_PREVIOUS", other[name])
		}
		require.NoError(t, p.Start(t.Context()))
		s.Ready(p)
	}
}

// traffic is what goes on while keys change. Nothing of it may be refused.
type traffic struct {
	system *harness.TestSystem
	user   atomic.Pointer[person]   // is logged in
	keys   atomic.Pointer[[]string] // that services call with, in turn
	counts [3]atomic.Int64
	stop   func()
	ended  sync.WaitGroup
}

// startTraffic starts requests of a person, of a service, and of newcomers.
func startTraffic(t *testing.T, s *harness.TestSystem, internalKey string) *traffic {
	t.Helper()
	n := &traffic{system: s}
	n.keys.Store(&[]string{internalKey})
	n.user.Store(verified(t, s))
	ctx, stop := context.WithCancel(t.Context())
	n.stop = stop
	for i, request := range []func(context.Context) error{n.look, n.ask, n.join} {
		n.ended.Go(func() {
			for ctx.Err() == nil && assert.NoError(t, request(context.WithoutCancel(ctx))) {
				n.counts[i].Add(1)
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	t.Cleanup(func() { stop(); n.ended.Wait() })
	return n
}

func (n *traffic) logIn(t *testing.T) {
	t.Helper()
	p := *n.user.Load()
	p.client = n.system.Client()
	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, false))
	n.user.Store(&p)
}

// look asks, with a cookie, who one is.
func (n *traffic) look(ctx context.Context) error {
	_, err := harness.Expect(http.StatusOK)(n.user.Load().client.Call(ctx, http.MethodGet, "/authentication/me", nil))
	return err
}

// ask is what a service asks with each key that it may use.
func (n *traffic) ask(ctx context.Context) error {
	for _, key := range *n.keys.Load() {
		_, err := harness.Expect(http.StatusOK)(n.system.Client().Call(ctx, http.MethodGet, "/users/internal/"+n.user.Load().id, nil,
			"X-Internal-Key", key))
		if err != nil {
			return err
		}
	}
	return nil
}

// join registers a person, and proves their address with the code that comes.
func (n *traffic) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	email, client := harness.Email(), n.system.Client()
	if _, err := harness.Expect(http.StatusCreated)(client.Register(ctx, email, harness.Password)); err != nil {
		return err
	}
	code, err := n.system.Mailbox.Code(ctx, email)
	if err == nil {
		_, err = harness.Expect(http.StatusOK)(client.Verify(ctx, email, code))
	}
	if err == nil {
		_, err = harness.Expect(http.StatusOK)(client.Call(ctx, http.MethodGet, "/authentication/me", nil))
	}
	return err
}

// end stops the traffic, of which there has to have been some.
func (n *traffic) end(t *testing.T) {
	t.Helper()
	n.stop()
	n.ended.Wait()
	for i := range n.counts {
		require.Positive(t, n.counts[i].Load(), "kind %d", i)
	}
	t.Logf("requests of a person %d, rounds of a service %d, newcomers %d", n.counts[0].Load(), n.counts[1].Load(), n.counts[2].Load())
}
