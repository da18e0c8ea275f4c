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

// Action is what a broker does with a delivery once its handler has ended.
type Action string

// The actions.
const (
	Ack     Action = "ack"
	Retry   Action = "retry"   // publish to the level's queue, then ack
	Dead    Action = "dead"    // publish to the dead queue, then ack
	Requeue Action = "requeue" // give it back untouched; another process takes it
)

// Handled is the outcome of a delivery whose handler has returned nil.
const Handled = "handled"

// Decision is what becomes of a delivery.
type Decision struct {
	Action  Action
	Outcome string            // for logs and metrics: Handled, a Drop constant, retry, a Reason constant, requeue
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
	attempts := d.Attempts()
	level := 0
	if _, blocked := errors.AsType[*blockedError](err); blocked {
		level = len(p.Levels) - 1
	} else if busy, ok := errors.AsType[*notYetError](err); ok {
		for level < len(p.Levels)-1 && p.Levels[level+1] <= busy.wait {
			level++ // the longest level that does not overshoot: looking once too often is cheap, a late mail is not
		}
	} else {
		level = min(attempts, len(p.Levels)-1)
		attempts++
	}
	return Decision{
		Action:  Retry,
		Outcome: "retry",
		Level:   level,
		Headers: map[string]string{
			HeaderRoutingKey:  d.RoutingKey,
			HeaderError:       ErrorClass(err),
			HeaderMoves:       strconv.Itoa(d.Moves() + 1),
			HeaderAttempts:    strconv.Itoa(attempts),
			HeaderFirstFailed: firstFailed(d, now).UTC().Format(time.RFC3339Nano),
		},
	}
}

// firstFailed returns when the first try of d failed, which is now when none has before.
func firstFailed(d Delivery, now time.Time) time.Time {
	if first := d.FirstFailed(); !first.IsZero() {
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
