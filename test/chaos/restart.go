package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smap-platform/identity/test/harness"
)

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
	idle, idleFailed := 0, 0
	for i, p := range r.Processes() {
		if i >= len(r.direct) {
			err = errors.Join(err, restart(ctx, p))
			continue
		}
		leave := time.AfterFunc(noticed, func() { r.leaving[i].Store(true) })
		connections, missing := idleConnections(ctx, r.direct[i])
		err = errors.Join(err, missing, restart(ctx, p))
		leave.Stop()
		r.leaving[i].Store(false)
		for _, c := range connections {
			idle++
			if c.ask(ctx) != nil {
				idleFailed++
			}
			_ = c.Close()
		}
	}
	stop()
	running.Wait()
	s.notes = append(s.notes, fmt.Sprintf("through nginx %d requests, %d failed; directly %d, %d failed; "+
		"on connections that were idle all through the drain %d, %d failed",
		sent.Load(), failed.Load(), direct.Load(), directFailed.Load(), idle, idleFailed))
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

// restart stops a process in order and starts it again.
func restart(ctx context.Context, p *harness.Process) error {
	_, err := p.Terminate(ctx)
	return errors.Join(err, p.Start(ctx), p.WaitReady(ctx))
}

// idleConnection is one that had a response, and has no request while its server is restarted.
type idleConnection struct {
	net.Conn
	responses *bufio.Reader
}

// idleConnections opens a few to an address.
func idleConnections(ctx context.Context, address string) (all []*idleConnection, err error) {
	for range 4 {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return all, err
		}
		c := &idleConnection{conn, bufio.NewReader(conn)}
		all = append(all, c)
		if err := c.ask(ctx); err != nil {
			return all, err
		}
	}
	return all, nil
}

// ask makes a request. Unlike an [http.Client] it does not make it again on another connection.
func (c *idleConnection) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.RemoteAddr().String()+"/live", http.NoBody)
	if err != nil {
		return err
	}
	if err := errors.Join(c.SetDeadline(time.Now().Add(answerWithin)), request.Write(c)); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.responses, request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}
