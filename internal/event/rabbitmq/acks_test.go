package rabbitmq

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// ackedChannel does what a broker does with acks: one for several needs its own tag to be unsettled.
type ackedChannel struct {
	amqp.Acknowledger
	unsettled map[uint64]bool // handed out
	handled   map[uint64]bool
	frames    int
	gone      bool
	wrong     string
}

func (c *ackedChannel) Ack(tag uint64, multiple bool) error {
	if c.gone {
		return amqp.ErrClosed
	}
	c.frames++
	if !c.unsettled[tag] {
		c.wrong = fmt.Sprintf("unknown delivery tag %d", tag)
	}
	for t := range c.unsettled {
		if t == tag || multiple && t < tag {
			if !c.handled[t] {
				c.wrong = fmt.Sprintf("%d was acked with %d and is not handled", t, tag)
			}
			delete(c.unsettled, t)
		}
	}
	return nil
}

func (c *ackedChannel) Nack(tag uint64, _, _ bool) error {
	if c.gone {
		return amqp.ErrClosed
	}
	delete(c.unsettled, tag)
	return nil
}

func holding(n int) *ackedChannel {
	c := &ackedChannel{unsettled: map[uint64]bool{}, handled: map[uint64]bool{}}
	for tag := range n {
		c.unsettled[uint64(tag+1)] = true
	}
	return c
}

func (c *ackedChannel) handle(a *acks, tag uint64) {
	a.mu.Lock()
	c.handled[tag] = true
	a.mu.Unlock()
	_ = a.Ack(tag, false)
}

func TestAcks(t *testing.T) {
	t.Parallel()
	// inBubble runs a test in which no time passes unless it waits: acks leave by themselves only then.
	inBubble := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, test)
		})
	}
	inBubble("leave together once there are enough", func(t *testing.T) {
		c := holding(32)
		a := newAcks(c, 32, nil)
		for tag := range uint64(32) {
			c.handle(a, tag+1)
		}
		require.Equal(t, 4, c.frames)
		require.Empty(t, c.unsettled)
		require.Empty(t, c.wrong)
	})

	inBubble("never ack what is being handled, and leave in time beside it", func(t *testing.T) {
		c := holding(4)
		a := newAcks(c, 32, nil)
		c.handle(a, 1)
		c.handle(a, 2)
		c.handle(a, 4)
		synctest.Wait()
		a.mu.Lock()
		require.Zero(t, c.frames)
		a.mu.Unlock()
		<-time.After(ackDelay)
		synctest.Wait()
		a.mu.Lock()
		require.Equal(t, map[uint64]bool{3: true}, c.unsettled)
		require.Equal(t, 2, c.frames)
		a.mu.Unlock()
		c.handle(a, 3)
		a.flush()
		a.mu.Lock()
		defer a.mu.Unlock()
		require.Empty(t, c.unsettled)
		require.Empty(t, c.wrong)
	})

	inBubble("do not pile up behind a handler that hangs", func(t *testing.T) {
		c := holding(32)
		a := newAcks(c, 32, nil)
		for tag := range uint64(31) {
			c.handle(a, tag+2)
		}
		require.LessOrEqual(t, len(c.unsettled), 1+32/4, "most of the prefetch is free again")
		require.Empty(t, c.wrong)
	})

	inBubble("leave at once where the prefetch is small", func(t *testing.T) {
		c := holding(3)
		a := newAcks(c, 3, nil)
		for _, tag := range []uint64{2, 3, 1} {
			c.handle(a, tag)
			require.NotContains(t, c.unsettled, tag)
		}
		require.Empty(t, c.wrong)
	})

	inBubble("count what the channel does not take any more", func(t *testing.T) {
		lost := 0
		c := holding(3)
		a := newAcks(c, 32, func() { lost++ })
		for _, tag := range []uint64{1, 2, 3} {
			c.handle(a, tag)
		}
		c.gone = true
		a.flush()
		a.flush()
		require.Equal(t, 3, lost)
	})

	inBubble("settle each delivery once, whatever the order", func(t *testing.T) {
		for range 200 {
			n := 1 + rand.IntN(300)
			c := holding(n)
			a := newAcks(c, rand.IntN(300), func() { t.Error("nothing is lost") })
			for _, i := range rand.Perm(n) {
				tag := uint64(i + 1)
				if rand.IntN(5) == 0 {
					require.NoError(t, a.Nack(tag, false, true))
				} else {
					c.handle(a, tag)
				}
				if rand.IntN(50) == 0 {
					a.flush()
				}
			}
			a.flush()
			require.Empty(t, c.unsettled)
			require.Empty(t, c.wrong)
			require.Empty(t, a.beyond)
		}
	})
}
