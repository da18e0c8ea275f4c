package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/smap-platform/identity/test/harness"
)

// buildAhead builds both programs for a machine whose clock is wrong.
func buildAhead(r *run) (err error) {
	r.ahead = map[string]string{}
	for _, name := range []string{harness.API, harness.Consumer} {
		if r.ahead[name], err = ahead(name); err != nil {
			return err
		}
	}
	return nil
}

// last are the processes whose clock goes wrong: one of each role.
func (r *run) last() map[string]*harness.Process {
	return map[string]*harness.Process{harness.API: r.APIs[1], harness.Consumer: r.Consumers[1]}
}

// replace stops a process in order and starts another build of it.
func replace(ctx context.Context, p *harness.Process, binary string) error {
	_, err := p.Terminate(ctx)
	p.Use(binary)
	return errors.Join(err, p.Start(ctx), p.WaitReady(ctx))
}

// moveClock restarts one api and one consumer with a clock that is ten minutes ahead. A person logs in at each api, and the
// other takes the token or says 401.
func moveClock(ctx context.Context, r *run, s *section) error {
	for name, p := range r.last() {
		if err := replace(ctx, p, r.ahead[name]); err != nil {
			return err
		}
	}
	for i, p := range r.APIs {
		status, err := r.crossLogin(ctx, p, r.APIs[1-i])
		if err != nil {
			return err
		}
		s.notes = append(s.notes, fmt.Sprintf("a token of %s at %s: %d", p.Name, r.APIs[1-i].Name, status))
	}
	return nil
}

// crossLogin registers a person, logs them in at one api, and returns the status with which the other takes the token.
func (r *run) crossLogin(ctx context.Context, at, other *harness.Process) (status int, err error) {
	email, client := harness.Email(), harness.ClientOf(at.URL())
	created, ok := harness.Expect(http.StatusCreated), harness.Expect(http.StatusOK)
	_, err = created(patiently(ctx, func() (harness.Answer, error) { return client.Register(ctx, email, harness.Password) }))
	if err != nil {
		return 0, err
	}
	waiting, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	if _, err := ok(client.Verify(ctx, email, r.mail.code(waiting, email))); err != nil {
		return 0, err
	}
	login, err := ok(patiently(ctx, func() (harness.Answer, error) { return client.Login(ctx, email, harness.Password, false) }))
	if err != nil {
		return 0, err
	}
	var cookies []string
	for _, c := range (&http.Response{Header: login.Header}).Cookies() {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	me := harness.ClientOf(other.URL())
	a, err := me.Call(ctx, http.MethodGet, "/authentication/me", nil, "Cookie", strings.Join(cookies, "; "))
	if err == nil && a.Status != http.StatusOK && a.Status != http.StatusUnauthorized {
		err = fmt.Errorf("a token of %s at %s: %d %s", at.Name, other.Name, a.Status, a.Raw)
	}
	return a.Status, err
}

// setClock expects that both have said in their health how wrong their clock is, and starts the real ones again.
func setClock(ctx context.Context, r *run) (err error) {
	for name, p := range r.last() {
		_, body, failed := p.Get(ctx, "/health")
		if failed == nil && !strings.Contains(body, "clock is 10m0s ahead") {
			failed = fmt.Errorf("%s does not say in /health that its clock is wrong: %s", p.Name, body)
		}
		binary, unknown := harness.Binary(name)
		err = errors.Join(err, failed, unknown, replace(ctx, p, binary))
	}
	return err
}
