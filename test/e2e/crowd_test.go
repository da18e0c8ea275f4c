//go:build e2e

package e2e

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// crowd is a steady stream of people who register, read their mail and verify, each on their own, whatever happens to
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

// visitor is one of them. What a lost answer or a failure meant is for the database to tell.
type visitor struct {
	email, code      string
	register, verify outcome
}

// outcome of a request.
type outcome string

const (
	none   outcome = ""
	done   outcome = "done"
	failed outcome = "failed" // answered with 5xx
	lost   outcome = "lost"   // no answer: the api died, or cut the connection
)

// startCrowd lets people come, so many per second, until leave.
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

// visit is what one person does. A person whose registration failed goes away.
func (c *crowd) visit(v *visitor) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*harness.Patience)
	defer cancel()
	client := c.s.Client()
	register := c.ask(ctx, func() (harness.Answer, error) { return client.Register(ctx, v.email, harness.Password) }, http.StatusCreated)
	var code string
	if register == done {
		var err error
		if code, err = c.s.Mailbox.Code(ctx, v.email); err != nil {
			c.t.Errorf("%s was registered and gets no mail: %v", v.email, err)
		}
	}
	c.mu.Lock()
	v.register, v.code = register, code
	c.mu.Unlock()
	if code == "" {
		return
	}
	verify := c.ask(ctx, func() (harness.Answer, error) { return client.Verify(ctx, v.email, code) }, http.StatusOK)
	c.mu.Lock()
	defer c.mu.Unlock()
	v.verify = verify
	if verify == done {
		c.proven++
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// ask makes a request, again for as long as no api took the connection: a load balancer's 502 that a person answers by
// trying again. Every other refusal than a 5xx is a fault.
func (c *crowd) ask(ctx context.Context, request func() (harness.Answer, error), status int) (o outcome) {
	err := harness.Eventually(ctx, func() error {
		a, err := request()
		switch {
		case errors.Is(err, harness.ErrNoAPI):
			return err
		case err != nil:
			o = lost
		case a.Status == status:
			o = done
		case a.Status >= http.StatusInternalServerError:
			o = failed
		default:
			o = failed
			c.t.Errorf("a person was refused: %d %s", a.Status, a.Raw)
		}
		return nil
	})
	if err != nil {
		c.t.Errorf("no api came back: %v", err)
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
			require.FailNow(c.t, "nobody gets through any more", "%d of %d have verified", proven, target)
		}
	}
}

// leave lets nobody else in and waits until all have finished.
func (c *crowd) leave() {
	c.stop()
	c.running.Wait()
}

// lost is how many answers never came.
func (c *crowd) lost() (n int) {
	for _, v := range c.visitors {
		if v.register == lost || v.verify == lost {
			n++
		}
	}
	return n
}

// refusedByUs is how many requests were answered with 5xx.
func (c *crowd) refusedByUs() (n int) {
	for _, v := range c.visitors {
		if v.register == failed || v.verify == failed {
			n++
		}
	}
	return n
}

// settle checks what must hold once all is quiet: everybody who is in the database has had the mail, nobody else has;
// nobody has had it twice but for repeats the ledger knows of, at most so many; every proven address has its trial,
// its event and its state; nothing is left anywhere.
func (c *crowd) settle(t *testing.T, s *harness.TestSystem, n *eventRecorder, repeats int) {
	t.Helper()
	users := column(t, s, "SELECT username FROM users")
	active := column(t, s, "SELECT username FROM users WHERE is_active")
	extra := 0
	for _, v := range c.visitors {
		if v.register == done {
			require.True(t, users[v.email], "a registration was answered and is gone: %s", v.email)
		}
		if v.verify == done {
			require.True(t, active[v.email], "a verification was answered and is gone: %s", v.email)
		}
		if users[v.email] {
			extra += c.mails(t, s, v.email) - 1
		} else {
			require.Empty(t, s.Mailbox.All(v.email), "a mail to somebody who is not registered")
		}
	}
	require.LessOrEqual(t, extra, repeats, "mails sent twice")
	t.Logf("%d people, %d users, %d verified, %d answers lost, %d mails repeated", len(c.visitors), len(users), len(active), c.lost(), extra)

	require.Equal(t, column(t, s, "SELECT id FROM users WHERE is_active"), column(t, s, "SELECT user_id FROM subscriptions"))
	for id := range column(t, s, "SELECT user_id FROM subscriptions") {
		state(t, s, id, "trialing")
	}
	toldOnce(t, s, n)
	s.OutboxEmpty()
	for _, queue := range []string{emailQueue, subscriptionQueue} {
		harness.Soon(t, func() error { return lengthIs(s, queue, 0) })
		require.Zero(t, s.QueueLength(queue+".dead"))
	}
	var people []*person
	for _, v := range c.visitors {
		people = append(people, &person{email: v.email, code: v.code})
	}
	keepsSecrets(t, s, people...)
}

// mails waits for the mail to an address and answers how many came; more than one must be the same and flagged.
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
		resends := s.Count(`SELECT resends FROM mail_deliveries d JOIN verification_codes c USING (event_id)
			JOIN users u ON u.id = c.user_id WHERE u.username = $1`, email)
		require.Equal(t, len(mails)-1, resends, "a repeat is flagged")
	}
	return len(mails)
}
