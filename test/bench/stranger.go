package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/smap-platform/identity/test/harness"
)

// startAlone starts an api that has nothing but its database, so that neither relay nor consumer works beside what is
// measured: its broker refuses connections.
func (b *bench) startAlone(ctx context.Context, env ...string) (*harness.System, error) {
	s, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	s.NewAPI(append([]string{"RABBITMQ_URL=amqp://nobody:nothing@127.0.0.1:1/"}, env...)...)
	return s, s.StartAll(ctx)
}

// networks is how many networks strangers have come from.
var networks atomic.Uint32

// stranger is a client in a network that no other has.
type stranger struct {
	*harness.Client
	network string // its address there
}

// newStranger returns a stranger with the connections of client.
func newStranger(client *harness.Client) stranger {
	n := networks.Add(1)
	return stranger{client, fmt.Sprintf("%d.%d.%d.7", 20+n>>16, n>>8&255, n&255)}
}

// post calls a verb of authentication.
func (s stranger) post(ctx context.Context, verb string, body map[string]string) (harness.Answer, error) {
	return s.Call(ctx, http.MethodPost, "/authentication/"+verb, body, "X-Forwarded-For", s.network)
}

// register registers an address and returns the value that names the browser.
func (s stranger) register(ctx context.Context, email, password string) (a harness.Answer, browser string, err error) {
	a, err = harness.Expect(http.StatusCreated)(
		s.post(ctx, "register", map[string]string{"email": email, "password": password}))
	if err != nil {
		return a, "", err
	}
	var data struct {
		Registration string `json:"registration"`
	}
	err = json.Unmarshal(a.Data, &data)
	return a, data.Registration, err
}

// expectCode is harness.Expect for an error code.
func expectCode(code int) func(harness.Answer, error) (harness.Answer, error) {
	return func(a harness.Answer, err error) (harness.Answer, error) {
		if err == nil && a.ErrorCode != code {
			err = fmt.Errorf("status %d, expected error code %d: %.300s", a.Status, code, a.Raw)
		}
		return a, err
	}
}
