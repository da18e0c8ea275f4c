package event

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// Policy is how long and how often a queue's messages are tried again. Each level is a queue at the broker with
// a fixed delay; the last level repeats until [Limit] gives the message up.
type Policy struct {
	Levels      []time.Duration // rising
	GiveUpAfter time.Duration   // since the first failure
}

// CrashLoopLimit is how often the broker may hand a message out before it counts as one that kills its handler.
// The broker's own x-delivery-limit (20) is only the net below it (docs/adr/0003).
const CrashLoopLimit = 10

// maxGiveBacks is how often the broker hands out a message of a paused lane before it is moved instead of given back.
// Each time counts toward [CrashLoopLimit], and a server that comes and goes would end in it.
const maxGiveBacks = CrashLoopLimit / 2

// Action is what a broker does with a delivery once its handler has ended.
type Action string

// The actions.
const (
	Ack     Action = "ack"
	Retry   Action = "retry"   // publish to the level's queue, then ack
	Dead    Action = "dead"    // publish to the dead queue, then ack
	Requeue Action = "requeue" // give it back untouched; another process takes it
)

// Outcomes that others ask for.
const (
	Handled = "handled" // the handler has returned nil
	Paused  = "paused"  // the lane is paused; the message waits for it to open
)

// Decision is what becomes of a delivery.
type Decision struct {
	Action  Action
	Outcome string            // for logs and metrics: Handled, Paused, a Drop or Reason constant, retry, requeue
	Level   int               // Retry: index into Policy.Levels
	Headers map[string]string // Retry, Dead: what to write over the message's own headers
}

// Decide turns a handler's result into an action. It is the only place that knows the rules; every broker calls it.
// stopping says that the process is draining.
func Decide(err error, d Delivery, p Policy, stopping bool, now time.Time) Decision {
	if end, ended := endOf(err); ended {
		if end.dead {
			return deadLetter(end.outcome, err, d, now)
		}
		return Decision{Action: Ack, Outcome: end.outcome}
	}
	if stopping && errors.Is(err, context.Canceled) {
		return Decision{Action: Requeue, Outcome: "requeue"}
	}
	if refusal, blocked := errors.AsType[*blockedError](err); blocked {
		return refusal.decide(d, p)
	}
	attempts := d.Attempts()
	level := 0
	if busy, ok := errors.AsType[*notYetError](err); ok {
		for level < len(p.Levels)-1 && p.Levels[level+1] <= busy.wait {
			level++ // the longest level that does not overshoot: looking once too often is cheap, a late mail is not
		}
	} else {
		level = min(attempts, len(p.Levels)-1)
		attempts++
	}
	decision := retry(level, err, d)
	decision.Headers[HeaderAttempts] = strconv.Itoa(attempts)
	decision.Headers[HeaderFirstFailed] = firstFailed(d, now).UTC().Format(time.RFC3339Nano)
	return decision
}

// retry moves d to a level. It counts no failed try.
func retry(level int, err error, d Delivery) Decision {
	return Decision{
		Action:  Retry,
		Outcome: "retry",
		Level:   level,
		Headers: map[string]string{
			HeaderRoutingKey: d.RoutingKey,
			HeaderError:      ErrorClass(err),
			HeaderMoves:      strconv.Itoa(d.Moves() + 1),
		},
	}
}

// decide returns what becomes of d, which is not at fault.
func (e *blockedError) decide(d Delivery, p Policy) Decision {
	switch {
	case e.then == lastLevel:
		return retry(len(p.Levels)-1, e, d)
	case e.then == giveBack && d.HandedOut < maxGiveBacks:
		return Decision{Action: Requeue, Outcome: Paused}
	default:
		decision := retry(0, e, d) // for the broker a new message
		decision.Outcome = Paused
		return decision
	}
}

// HoldBack returns what becomes of d, which was not begun when its lane paused.
func HoldBack(d Delivery, p Policy) Decision { return errPaused.decide(d, p) }

// firstFailed returns when the first try of d failed, which is now when none has before. A header may say later, and the
// message would never be given up.
func firstFailed(d Delivery, now time.Time) time.Time {
	if first := d.FirstFailed(); !first.IsZero() && first.Before(now) {
		return first
	}
	return now
}

func deadLetter(reason string, err error, d Delivery, now time.Time) Decision {
	class := ErrorClass(err)
	if class == "error" {
		class = reason
	}
	return Decision{
		Action:  Dead,
		Outcome: reason,
		Headers: map[string]string{
			HeaderRoutingKey: d.RoutingKey,
			HeaderError:      class,
			HeaderAttempts:   strconv.Itoa(d.Attempts()),
			HeaderMoves:      strconv.Itoa(d.Moves() + 1),
			HeaderDeadReason: reason,
			HeaderDeadAt:     now.UTC().Format(time.RFC3339Nano),
		},
	}
}
