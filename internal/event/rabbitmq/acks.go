package rabbitmq

import (
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// ackDelay is how long an ack may wait for others.
	ackDelay = 25 * time.Millisecond
	// maxAcksAtOnce is how many acks one frame may carry.
	maxAcksAtOnce = 64
)

// acks acks the deliveries of one channel, several with one frame: the broker writes an entry into the log of the queue for
// each frame, and one for many costs it as much as one for one. It is for queues whose messages may be handled again: a
// process that is killed leaves finished messages unacked (docs/adr/0022).
//
// A frame never acks a delivery that nobody has settled. A finished one behind it is acked by itself, within ackDelay.
type acks struct {
	channel amqp.Acknowledger
	most    int    // acks that leave together, or wait for those of earlier deliveries
	lost    func() // called for each ack that could not be sent

	mu      sync.Mutex
	through uint64          // the tag up to which all deliveries are settled; the broker counts from 1
	run     int             // acks that wait, up to through
	last    uint64          // the latest of them
	beyond  map[uint64]bool // what is settled after through: whether its ack waits
	apart   int             // acks that wait there
	timer   *time.Timer     // runs while any ack waits
}

// newAcks returns acks for a channel. With a prefetch below 4 each leaves at once.
func newAcks(channel amqp.Acknowledger, prefetch int, lost func()) *acks {
	a := &acks{channel: channel, most: min(prefetch/4, maxAcksAtOnce), lost: lost, beyond: map[uint64]bool{}}
	a.timer = time.AfterFunc(ackDelay, a.flush)
	a.timer.Stop()
	return a
}

// Ack implements amqp.Acknowledger. What becomes of the ack is not known yet.
func (a *acks) Ack(tag uint64, _ bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(tag, true)
	return nil
}

// Nack implements amqp.Acknowledger.
func (a *acks) Nack(tag uint64, _, requeue bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.channel.Nack(tag, false, requeue)
	a.settle(tag, false)
	return err
}

// Reject implements amqp.Acknowledger.
func (a *acks) Reject(tag uint64, requeue bool) error { return a.Nack(tag, false, requeue) }

// flush acks all that is settled; behind a delivery that is not, each for itself.
func (a *acks) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sendAll()
}

// settle notes that the delivery needs nothing more, but its ack where that waits. a.mu is held.
func (a *acks) settle(tag uint64, waits bool) {
	if a.run+a.apart == 0 && waits {
		a.timer.Reset(ackDelay)
	}
	a.beyond[tag] = waits
	if waits {
		a.apart++
	}
	for waits, settled := a.beyond[a.through+1]; settled; waits, settled = a.beyond[a.through+1] {
		a.through++
		delete(a.beyond, a.through)
		if waits {
			a.apart--
			a.run++
			a.last = a.through
		}
	}
	if a.run >= a.most {
		a.sendRun()
	}
	if a.apart > a.most {
		a.sendAll()
	}
}

// sendRun acks what is settled without a gap. a.mu is held.
func (a *acks) sendRun() {
	if a.run > 0 {
		a.send(a.last, a.run)
		a.run = 0
	}
	if a.apart == 0 {
		a.timer.Stop()
	}
}

// sendAll is flush. a.mu is held.
func (a *acks) sendAll() {
	for tag, waits := range a.beyond {
		if waits {
			a.send(tag, 1)
			a.beyond[tag] = false
		}
	}
	a.apart = 0
	a.sendRun()
}

// send acks one delivery, or n up to tag. a.mu is held.
func (a *acks) send(tag uint64, n int) {
	if a.channel.Ack(tag, n > 1) == nil {
		return
	}
	for range n {
		a.lost()
	}
}
