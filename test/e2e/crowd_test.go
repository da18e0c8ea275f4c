//go:build e2e

package e2e

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// crowd is a steady stream of people who register, read their mail and verify, each independently, whatever happens to
// the service meanwhile.
type crowd struct {
	t       *testing.T
	s       *harness.TestSystem
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	visitors []*visitor
	proven   int // verified so far
	changed  chan struct{}
}

// visitor is one of them. The database says what became of a lost or failed request.
type visitor struct {
	email, code      string
	register, verify outcome
}

// outcome of a request.
type outcome string

const (
	none   outcome = ""
	done   outcome = "done"
	failed outcome = "failed" // a 5xx
	lost   outcome = "lost"   // no response: the api died, or cut the connection
	reset  outcome = "reset"  // the same, by a reset: the api may never have read the request
)

// startCrowd lets so many people per second come, until finish.
func startCrowd(t *testing.T, s *harness.TestSystem, perSecond int) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{t: t, s: s, stop: stop, changed: make(chan struct{})}
	c.running.Go(func() {
		next := time.NewTicker(time.Second / time.Duration(perSecond))
		defer next.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
				v := &visitor{email: harness.Email()}
				c.mu.Lock()
				c.visitors = append(c.visitors, v)
				c.mu.Unlock()
				c.running.Go(func() { c.visit(v) })
			}
		}
	})
	t.Cleanup(stop)
	return c
}

// visit is what one person does. They leave when their registration has failed.
func (c *crowd) visit(v *visitor) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*harness.Patience)
	defer cancel()
	client := c.s.Client()
	register := c.request(ctx, http.StatusCreated, func() (harness.Answer, error) {
		return client.Register(ctx, v.email, harness.Password)
	})
	var code string
	if register == done {
		var err error
		if code, err = c.s.Mailbox.Code(ctx, v.email); err != nil {
			c.t.Errorf("%s is registered and gets no mail: %v", v.email, err)
		}
	}
	c.mu.Lock()
	v.register, v.code = register, code
	c.mu.Unlock()
	if code == "" {
		return
	}
	verify := c.request(ctx, http.StatusOK, func() (harness.Answer, error) { return client.Verify(ctx, v.email, code) })
	c.mu.Lock()
	defer c.mu.Unlock()
	v.verify = verify
	if verify == done {
		c.proven++
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// busy is what a person reads who comes while the machine cannot hash any more passwords.
const busy = "The service is busy; please try again in a moment"

// request makes a request, and repeats it as long as no api takes the connection, as a person does after a load
// balancer's 502, or has no place to hash a password. Any refusal other than another 5xx is a fault.
func (c *crowd) request(ctx context.Context, status int, request func() (harness.Answer, error)) (o outcome) {
	err := harness.Eventually(ctx, func() error {
		a, err := request()
		switch {
		case errors.Is(err, harness.ErrNoAPI):
			return err
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
			c.t.Logf("no response: %v", err)
			o = reset
		case err != nil:
			c.t.Logf("no response: %v", err)
			o = lost
		case a.Status == status:
			o = done
		case a.Status == http.StatusServiceUnavailable && a.Message == busy:
			return errors.New(busy)
		case a.Status >= http.StatusInternalServerError:
			o = failed
		default:
			o = failed
			c.t.Errorf("a person was refused: %d %s", a.Status, a.Raw)
		}
		return nil
	})
	if err != nil {
		c.t.Errorf("no api takes connections: %v", err)
	}
	return o
}

// waitVerified waits until so many more have verified.
func (c *crowd) waitVerified(more int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), harness.Patience)
	defer cancel()
	c.mu.Lock()
	target := c.proven + more
	c.mu.Unlock()
	for {
		c.mu.Lock()
		proven, changed := c.proven, c.changed
		c.mu.Unlock()
		if proven >= target {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(c.t, "verifications have stopped", "%d of %d have verified", proven, target)
		}
	}
}

// finish stops the stream and waits until all have finished.
func (c *crowd) finish() {
	c.stop()
	c.running.Wait()
}

// lostAnswers is how many people never got a response.
func (c *crowd) lostAnswers() (n int) {
	for _, v := range c.visitors {
		for _, o := range []outcome{v.register, v.verify} {
			if o == lost || o == reset {
				n++
			}
		}
	}
	return n
}

// serverErrors is how many people got a 5xx.
func (c *crowd) serverErrors() (n int) {
	for _, v := range c.visitors {
		if v.register == failed || v.verify == failed {
			n++
		}
	}
	return n
}

// check checks what must hold once all is quiet. Every user in the database has had the mail, and no other address has.
// At most so many have had it twice, all of them repeats in the ledger. Every proven address has its trial, its event
// and its state. No queue and no outbox holds anything.
func (c *crowd) check(t *testing.T, s *harness.TestSystem, recorded *eventRecorder, repeats int) {
	t.Helper()
	users := textSet(t, s, "SELECT username FROM users")
	active := textSet(t, s, "SELECT username FROM users WHERE is_active")
	extra := 0
	for _, v := range c.visitors {
		if v.register == done {
			require.True(t, users[v.email], "a confirmed registration is lost: %s", v.email)
		}
		if v.verify == done {
			require.True(t, active[v.email], "a confirmed verification is lost: %s", v.email)
		}
		if users[v.email] {
			extra += c.mails(t, s, v.email) - 1
		} else {
			require.Empty(t, s.Mailbox.All(v.email), "a mail to an unregistered address")
		}
	}
	require.LessOrEqual(t, extra, repeats, "mails sent twice")
	t.Logf("%d people, %d users, %d verified, %d answers lost, %d mails repeated",
		len(c.visitors), len(users), len(active), c.lostAnswers(), extra)

	subscribed := textSet(t, s, "SELECT user_id FROM subscriptions")
	require.Equal(t, textSet(t, s, "SELECT id FROM users WHERE is_active"), subscribed)
	for id := range subscribed {
		subscriptionState(t, s, id, "trialing")
	}
	eventsMatchRows(t, s, recorded)
	s.OutboxEmpty()
	for _, queue := range []string{emailQueue, subscriptionQueue} {
		harness.Soon(t, func() error { return lengthIs(s, queue, 0) })
		require.Zero(t, s.QueueLength(queue+".dead"))
	}
	var people []*person
	for _, v := range c.visitors {
		people = append(people, &person{email: v.email, code: v.code})
	}
	logsHideSecrets(t, s, people...)
}

// mails waits for the mail to an address and returns how many came. More than one must be equal, and flagged as
// repeats.
func (c *crowd) mails(t *testing.T, s *harness.TestSystem, email string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	_, err := s.Mailbox.Wait(ctx, email, 1)
	require.NoError(t, err, "a user without a mail: %s", email)
	mails := s.Mailbox.All(email)
	if len(mails) > 1 {
		for _, m := range mails {
			require.Equal(t, mails[0].MessageID, m.MessageID, "a repeat is recognisable")
			require.Equal(t, mails[0].Code(), m.Code())
		}
		resends := s.Count(`SELECT resends FROM mail_deliveries d JOIN code_requests c USING (event_id)
			JOIN users u ON u.id = c.user_id WHERE u.username = $1`, email)
		require.Equal(t, len(mails)-1, resends, "a repeat is flagged")
	}
	return len(mails)
}
