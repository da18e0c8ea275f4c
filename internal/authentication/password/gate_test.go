package password

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/apperror"
)

// crowd are callers of a gate in a synctest bubble. A hash takes a tenth of a second, of the bubble's clock.
type crowd struct {
	*testing.T
	*gate
	all sync.WaitGroup

	mu     sync.Mutex
	served []string // clients, in the order in which they were let in
	failed map[string][]error
	waited time.Duration // at most
}

const hashTime = 100 * time.Millisecond

func newCrowd(t *testing.T, places int, patience time.Duration) *crowd {
	g := newGate(places, patience)
	g.took = [kinds]time.Duration{hashTime, hashTime}
	return &crowd{T: t, gate: g, failed: map[string][]error{}}
}

// come has a client ask for n hashes at once. They wait, are being made or are refused when it returns.
func (c *crowd) come(client string, n int) {
	ctx := WithClient(context.Background(), client)
	for range n {
		c.all.Go(func() { c.hash(ctx, client, newHash, hashTime) })
		synctest.Wait()
	}
}

func (c *crowd) hash(ctx context.Context, client string, w work, took time.Duration) {
	came := time.Now()
	leave, err := c.enter(ctx, w)
	c.mu.Lock()
	if err != nil {
		c.failed[client] = append(c.failed[client], err)
		c.mu.Unlock()
		return
	}
	c.served = append(c.served, client)
	c.waited = max(c.waited, time.Since(came))
	c.mu.Unlock()
	time.Sleep(took) // of the bubble's clock
	leave()
}

// requireIdle checks that nothing is left behind.
func (c *crowd) requireIdle() {
	c.Helper()
	c.all.Wait()
	load := c.load()
	require.Zero(c, load.Running)
	require.Zero(c, load.Waiting)
	require.Zero(c, c.backlog)
	require.Empty(c, c.turns)
}

func TestGate(t *testing.T) {
	t.Parallel()

	t.Run("serves all that fit, and refuses the next when it comes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 2, 2*time.Second)
			c.come("a", 2+20) // two places, and room for a second's work of one client for each
			require.Equal(t, Load{Running: 2, Waiting: 20}, c.load())
			c.come("a", 1)
			require.Equal(t, Load{Running: 2, Waiting: 20, Refused: 1}, c.load())
			require.Len(t, c.failed["a"], 1)
			require.ErrorIs(t, c.failed["a"][0], authentication.ErrBusy)
			require.Equal(t, time.Second, apperror.From(c.failed["a"][0]).After)
			c.requireIdle()
			require.Len(t, c.served, 22)
			require.Equal(t, time.Second, c.waited)
		})
	})

	t.Run("does not depend on how long the caller's own hash takes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			for _, own := range []work{newHash, bcryptOf(14)} {
				c := newCrowd(t, 1, 2*time.Second)
				c.come("a", 1+9)
				c.all.Go(func() { c.hash(WithClient(context.Background(), "a"), "a", own, 0) })
				synctest.Wait()
				require.Equal(t, Load{Running: 1, Waiting: 10}, c.load())
				c.come("a", 1)
				require.Equal(t, uint64(1), c.load().Refused)
				c.requireIdle()
				require.Len(t, c.served, 11)
			}
		})
	})

	t.Run("lets clients in in turns", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1, time.Minute)
			c.come("flood", 200)
			c.come("one", 1)
			c.come("two", 2)
			c.requireIdle()
			require.Equal(t, []string{"flood", "flood", "one", "two", "flood", "two", "flood"}, c.served[:7])
			require.Empty(t, c.failed)
		})
	})

	t.Run("takes room from the client with the most callers only", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1, 2*time.Second)
			c.come("flood", 200)
			require.Len(t, c.failed["flood"], 189, "one client has half of the room")
			c.come("other", 200)
			require.Len(t, c.failed["other"], 190)
			c.come("one", 1)
			require.Empty(t, c.failed["one"])
			require.Len(t, c.failed["flood"], 190, "the last to come was refused instead")
			c.come("office", 20)
			require.Len(t, c.failed["flood"], 193)
			require.Len(t, c.failed["other"], 193)
			require.Len(t, c.failed["office"], 14, "it has as many as the others have left")
			for _, err := range slices.Concat(c.failed["flood"], c.failed["other"], c.failed["office"]) {
				require.ErrorIs(t, err, authentication.ErrBusy)
				require.NotZero(t, apperror.From(err).After)
			}
			c.come("late", 1)
			require.Empty(t, c.failed["late"])
			c.requireIdle()
			require.Empty(t, c.failed["one"])
			require.Equal(t, uint64(401), c.load().Refused)
			require.LessOrEqual(t, c.waited, 2*time.Second)
		})
	})

	t.Run("counts callers without a client as one", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1, time.Minute)
			c.come("", 10)
			c.come("one", 1)
			c.requireIdle()
			require.Equal(t, []string{"", "", "one", ""}, c.served[:4])
		})
	})

	t.Run("learns how long hashes take", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1, time.Second)
			for range 100 {
				c.hash(context.Background(), "", newHash, 10*time.Millisecond)
				c.hash(context.Background(), "", bcryptOf(11), 400*time.Millisecond)
			}
			require.InDelta(t, 10*time.Millisecond, c.took[argon2id], float64(time.Millisecond))
			require.InDelta(t, 200*time.Millisecond, c.took[bcrypted], float64(time.Millisecond), "at cost 10")
			c.hash(context.Background(), "", newHash, time.Hour)
			require.Less(t, c.took[argon2id], c.patience/4, "a process that was stopped has not hashed for an hour")
		})
	})

	t.Run("serves a client in time while another comes again and again", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1, 2*time.Second)
			c.come("flood", 200)
			for range 30 {
				c.hash(WithClient(context.Background(), "one"), "one", newHash, hashTime)
			}
			c.requireIdle()
			require.Empty(t, c.failed["one"])
			require.Len(t, c.failed["flood"], 189, "all of them at once")
			require.Len(t, c.served, 11+30)
			require.LessOrEqual(t, c.waited, 2*time.Second)
		})
	})

	t.Run("refuses early when hashes take much longer than before", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1, 20*time.Second)
			for range 1 + 100 {
				c.all.Go(func() { c.hash(context.Background(), "", newHash, 5*hashTime) })
				synctest.Wait()
			}
			require.Equal(t, 100, c.load().Waiting)
			c.requireIdle()
			require.NotEmpty(t, c.failed[""])
			for _, err := range c.failed[""] {
				require.ErrorIs(t, err, errTooMany, "and not when it has waited for all the time there is")
			}
		})
	})

	t.Run("lets go of a caller whose client has gone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1, time.Second)
			c.come("a", 1)
			ctx, leave := context.WithCancel(context.Background())
			c.all.Go(func() { c.hash(ctx, "gone", newHash, hashTime) })
			synctest.Wait()
			require.Equal(t, 1, c.load().Waiting)
			leave()
			synctest.Wait()
			require.Equal(t, Load{Running: 1}, c.load(), "at once, and as no refusal of ours")
			require.ErrorIs(t, c.failed["gone"][0], context.Canceled)
			require.ErrorIs(t, c.failed["gone"][0], authentication.ErrBusy)
			c.hash(ctx, "gone before", newHash, hashTime)
			require.ErrorIs(t, c.failed["gone before"][0], context.Canceled)
			c.requireIdle()
		})
	})

	t.Run("does not keep a caller waiting for ever", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1, time.Second)
			leave, err := c.enter(context.Background(), newHash) // and hangs
			require.NoError(t, err)
			c.come("a", 1)
			c.all.Wait()
			require.ErrorIs(t, c.failed["a"][0], authentication.ErrBusy)
			require.ErrorIs(t, c.failed["a"][0], errOverdue)
			require.Equal(t, Load{Running: 1, Refused: 1}, c.load())
			leave()
			c.requireIdle()
		})
	})

	// Callers of many clients come and go at random.
	t.Run("loses nobody and lets in no more than it has places", func(t *testing.T) {
		t.Parallel()
		for seed := range uint64(20) {
			synctest.Test(t, func(t *testing.T) {
				const places, callers = 3, 400
				random := rand.New(rand.NewPCG(seed, 0))
				c := newCrowd(t, places, time.Second)
				var inside, ended atomic.Int64
				for range callers {
					client := fmt.Sprint(random.IntN(1 + random.IntN(20)))
					came, took := time.Duration(random.IntN(5000)), time.Duration(random.IntN(300))
					w := []work{newHash, bcryptOf(10), bcryptOf(12)}[random.IntN(3)]
					ctx, cancel := context.WithCancel(WithClient(context.Background(), client))
					if random.IntN(4) == 0 {
						ctx, cancel = context.WithTimeout(ctx, (came+time.Duration(random.IntN(2000)))*time.Millisecond)
					}
					c.all.Go(func() {
						defer cancel()
						defer ended.Add(1)
						time.Sleep(came * time.Millisecond) // of the bubble's clock
						leave, err := c.enter(ctx, w)
						if err != nil {
							assert.ErrorIs(t, err, authentication.ErrBusy)
							return
						}
						assert.LessOrEqual(t, inside.Add(1), int64(places))
						time.Sleep(took * time.Millisecond) // of the bubble's clock
						inside.Add(-1)
						leave()
					})
				}
				c.requireIdle()
				require.Equal(t, int64(callers), ended.Load())
			})
		}
	})
}

// TestGateAtOnce has goroutines race for real.
func TestGateAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate(2, time.Minute)
	var inside, served atomic.Int64
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(WithClient(context.Background(), fmt.Sprint(i%7)))
			defer cancel()
			if i%5 == 0 {
				go cancel()
			}
			leave, err := g.enter(ctx, newHash)
			if err != nil {
				return
			}
			if inside.Add(1) > 2 {
				t.Error("more are in than there are places")
			}
			served.Add(1)
			inside.Add(-1)
			leave()
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, served.Load(), int64(400), "all whose client has not gone")
	require.Equal(t, Load{}, g.load())
	require.Zero(t, g.backlog)
}

func TestWorkOf(t *testing.T) {
	t.Parallel()
	bcryptHash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.MinCost)
	require.NoError(t, err)
	of := func(p params) string { return phc{p, make([]byte, saltBytes), make([]byte, keyBytes)}.String() }
	for name, tc := range map[string]struct {
		hash string
		want work
	}{
		"one of ours":        {of(current), newHash},
		"none":               {"", newHash},
		"three times as big": {of(params{memory: current.memory, time: 3 * current.time, threads: 1}), work{argon2id, 3}},
		"a small one":        {of(params{memory: 8, time: 1, threads: 1}), work{argon2id, minSize}},
		"bcrypt":             {"$2b$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu", work{bcrypted, 1}},
		"bcrypt of cost 12":  {"$2b$12$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu", work{bcrypted, 4}},
		"bcrypt, least cost": {string(bcryptHash), work{bcrypted, minSize}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, workOf(tc.hash))
		})
	}
}
