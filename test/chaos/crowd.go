package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smap-platform/identity/test/harness"
)

// answer is what the client of a request learned.
type answer int

const (
	unknown  answer = iota // no answer: it may have been carried out
	promised               // success
	refused                // an error
)

// owed is a mail that was asked for.
type owed struct {
	to      string
	section int  // the fault during which it was asked for
	probe   bool // a registration: its mail leaves at once
	answer  answer
	began   time.Time
	took    time.Duration // until the answer
	status  int
	refusal bool // the mail server refuses this recipient for good
	proven  bool // the code was taken
}

// crowd is a steady stream of people who register and prove their address, and of uploads of invitations, whatever happens
// meanwhile. Each takes one of the apis at random, and the other when that refuses the connection.
type crowd struct {
	mail    *mailServer
	apis    []string // URLs
	admin   *harness.Client
	section atomic.Int64
	refused atomic.Bool // one in three has an address that the mail server refuses
	running sync.WaitGroup
	// asking is held for reading while a registration or an upload is under way. Nobody begins one while it is held for writing.
	asking sync.RWMutex

	mu     sync.Mutex
	random *rand.Rand
	mails  []*owed
	wrong  []string // responses that no fault explains
}

// answerWithin is how long a person waits for an answer.
const answerWithin = 20 * time.Second

// busy is what a person reads who comes while the machine cannot hash any more passwords.
const busy = "The service is busy; please try again in a moment"

// start has so many people a second register, and so many a second be invited, until ctx ends.
func (c *crowd) start(ctx context.Context, registrations, invitations float64) {
	c.every(ctx, registrations, func() { c.register(ctx) })
	const batches = 0.5 // a second
	if invitations > 0 {
		c.every(ctx, batches, func() { c.invite(int(invitations / batches)) })
	}
}

// every calls do in a goroutine of its own so many times a second.
func (c *crowd) every(ctx context.Context, perSecond float64, do func()) {
	c.running.Go(func() {
		ticks := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				c.running.Go(do)
			}
		}
	})
}

// clients returns a client that takes the apis in a random order.
func (c *crowd) clients() *harness.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	urls := make([]string, len(c.apis))
	for i, n := range c.random.Perm(len(c.apis)) {
		urls[i] = c.apis[n]
	}
	return harness.ClientOf(urls...)
}

func (c *crowd) note(o *owed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mails = append(c.mails, o)
}

// register is what one person does. They leave when their registration has failed.
func (c *crowd) register(ctx context.Context) {
	o := &owed{to: harness.Email(), section: int(c.section.Load()), probe: true, began: time.Now()}
	if c.refused.Load() && o.began.UnixMilli()%3 == 0 {
		o.to, o.refusal = []string{gone, full}[o.began.UnixMilli()%2]+o.to, true
	}
	client := c.clients()
	if !c.ask(ctx, client, o) || o.answer != promised || o.refusal {
		return
	}
	code := c.mail.code(ctx, o.to)
	if code == "" {
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	a, err := client.Verify(limited, o.to, code)
	proven := err == nil && a.Status == http.StatusOK
	c.mu.Lock()
	defer c.mu.Unlock()
	o.proven = proven
	if err == nil && a.Status >= 400 && a.Status < 500 {
		c.wrong = append(c.wrong, "a person with the right code was refused: "+a.Raw)
	}
}

// ask has a person register until the answer is other than "busy", and notes what came of it. It reports false where nothing
// is noted: while the crowd rests, and when it goes home.
func (c *crowd) ask(ctx context.Context, client *harness.Client, o *owed) bool {
	if !c.asking.TryRLock() {
		return false
	}
	defer c.asking.RUnlock()
	for {
		o.began, o.section = time.Now(), int(c.section.Load())
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
		a, err := client.Register(limited, o.to, harness.Password)
		cancel()
		if err == nil && a.Status == http.StatusServiceUnavailable && a.Message == busy {
			pause(ctx, time.Second) // as its Retry-After says
			if ctx.Err() != nil {
				return false
			}
			continue
		}
		o.answered(a, err, http.StatusCreated)
		c.note(o)
		return true
	}
}

// answered records what was answered; success is the status of one.
func (o *owed) answered(a harness.Answer, err error, success int) {
	o.took, o.status = time.Since(o.began), a.Status
	switch {
	case err != nil:
		o.answer = unknown
	case a.Status == success:
		o.answer = promised
	default:
		o.answer = refused
	}
}

// invite uploads n addresses.
func (c *crowd) invite(n int) {
	if !c.asking.TryRLock() {
		return
	}
	defer c.asking.RUnlock()
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = harness.Email()
	}
	first := &owed{section: int(c.section.Load()), began: time.Now()}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	a, err := c.admin.Call(ctx, http.MethodPost, "/users/invitations", addresses)
	first.answered(a, err, http.StatusAccepted)
	if first.answer == promised {
		var data struct{ Accepted int }
		if json.Unmarshal(a.Data, &data) != nil || data.Accepted != n {
			c.mu.Lock()
			c.wrong = append(c.wrong, "not all invitations were accepted: "+a.Raw)
			c.mu.Unlock()
		}
	}
	for _, to := range addresses {
		o := *first
		o.to = to
		c.note(&o)
	}
}

// all returns the mails so far.
func (c *crowd) all() []owed {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]owed, len(c.mails))
	for i, o := range c.mails {
		all[i] = *o
	}
	return all
}

// patiently makes a request again, as its Retry-After says, while the machine cannot hash any more passwords.
func patiently(ctx context.Context, request func() (harness.Answer, error)) (a harness.Answer, err error) {
	for {
		a, err = request()
		if err != nil || a.Status != http.StatusServiceUnavailable || a.Message != busy || ctx.Err() != nil {
			return a, err
		}
		pause(ctx, time.Second)
	}
}
