package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

func apis(r *run) []*harness.Process      { return r.APIs }
func consumers(r *run) []*harness.Process { return r.Consumers }

// killProcess kills one process of a role, drawn by lot.
func killProcess(role func(*run) []*harness.Process) func(context.Context, *run, *section) error {
	return func(_ context.Context, r *run, s *section) error {
		all := role(r)
		victim := all[r.draw(len(all))]
		s.notes = append(s.notes, victim.Name)
		return victim.Kill()
	}
}

// killInMail kills a consumer while it has several mails in hand, because the mail server is slow.
func killInMail(ctx context.Context, r *run, s *section) error {
	r.mail.script(smtptest.At(smtptest.Mail).Delay(1500 * time.Millisecond))
	pause(ctx, 3*time.Second)
	err := killProcess(consumers)(ctx, r, s)
	r.mail.script()
	return err
}

// restartProcesses starts what does not run.
func restartProcesses(ctx context.Context, r *run) (err error) {
	for _, p := range r.Processes() {
		if p.Running() {
			continue
		}
		if failed := p.Start(ctx); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		err = errors.Join(err, p.WaitReady(ctx))
	}
	return err
}

// restartInTurn stops and starts every process in turn, while requests go through nginx and directly. None fails, apart
// from those on connections that were idle all through the drain.
func restartInTurn(ctx context.Context, r *run, s *section) error {
	balancer, err := harness.StartBalancer([2]string(r.direct))
	if err != nil {
		return err
	}
	defer balancer.Close()
	var running sync.WaitGroup
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var sent, failed, direct, directFailed atomic.Int64
	var first atomic.Pointer[error]
	ask := func(keepAlive bool, sent, failed *atomic.Int64, url func(i int) string) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keepAlive}, Timeout: answerWithin}
		defer client.CloseIdleConnections()
		for i := 0; asking.Err() == nil; i++ {
			sent.Add(1)
			if err := refusedCode(client, url(i)); err != nil {
				failed.Add(1)
				first.CompareAndSwap(nil, &err)
			}
			pause(asking, 50*time.Millisecond)
		}
	}
	for i := range 8 {
		running.Go(func() { ask(i%2 == 0, &sent, &failed, func(int) string { return balancer.URL }) })
	}
	for i := range 4 { // each in turn to both, as one behind a list of addresses that does not leave one which is going
		running.Go(func() {
			ask(true, &direct, &directFailed, func(n int) string { return "http://" + r.ready((i+n)%2) })
		})
	}
	for i, p := range r.Processes() {
		if i < len(r.leaving) {
			leave := time.AfterFunc(noticed, func() { r.leaving[i].Store(true) })
			defer leave.Stop()
		}
		if _, failed := p.Terminate(ctx); failed != nil {
			err = errors.Join(err, failed)
		}
		err = errors.Join(err, p.Start(ctx), p.WaitReady(ctx))
		if i < len(r.leaving) {
			r.leaving[i].Store(false)
		}
	}
	stop()
	running.Wait()
	s.notes = append(s.notes, fmt.Sprintf("through nginx %d requests, %d failed; directly %d, %d failed",
		sent.Load(), failed.Load(), direct.Load(), directFailed.Load()))
	if failed.Load()+directFailed.Load() > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests failed through nginx, %d directly: %w", failed.Load(), directFailed.Load(), *first.Load()))
	}
	return err
}

// noticed is how long a balancer takes to see that an api is not ready.
const noticed = 500 * time.Millisecond

// ready returns the address of api i, or of the other one where a balancer would have left it.
func (r *run) ready(i int) string {
	if r.leaving[i].Load() {
		i = 1 - i
	}
	return r.direct[i]
}

// refusedCode makes a request that is refused with 400: nobody is registered with that address.
func refusedCode(client *http.Client, url string) error {
	response, err := client.Post(url+"/authentication/verify-otp", "application/json",
		strings.NewReader(`{"email":"nobody@example.com","otp":"123456"}`))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (unwell(response.StatusCode) || response.StatusCode < http.StatusBadRequest) {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return err
}
