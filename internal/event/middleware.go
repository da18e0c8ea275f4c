package event

import (
	"context"
	"errors"
	"math"
	"runtime/debug"
	"slices"
	"time"
)

// Middleware wraps a Handler: it sees a delivery before the handler and the result after it.
type Middleware func(next Handler) Handler

// Chain returns h inside the given middleware, the first of them outermost.
func Chain(h Handler, around ...Middleware) Handler {
	for _, m := range slices.Backward(around) {
		h = m(h)
	}
	return h
}

// Recover turns a panic into a [*PanicError], which is retried like any other failure.
func Recover(next Handler) Handler {
	return func(ctx context.Context, d Delivery) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = &PanicError{Value: v, Stack: debug.Stack()}
			}
		}()
		return next(ctx, d)
	}
}

// Timeout ends the handler's context after limit: a dependency that hangs becomes an error, and the retry levels wait
// better than a handler does.
func Timeout(limit time.Duration) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, d Delivery) error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return next(ctx, d)
		}
	}
}

var errCrashLoop = errors.New("event: the broker has handed this message out too often; it seems to kill its handler")

// Limit ends a delivery that is unfit, without running its handler, and makes Permanent what would go on for ever: a
// delivery that was handed out [CrashLoopLimit] times, and an error that comes back for p.GiveUpAfter, the pauses of its
// lane not counted. An error of a context that a shutdown has ended is neither, nor is [Blocked].
func Limit(p Policy, now func() time.Time) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, d Delivery) error {
			if d.Unfit != nil {
				return d.Unfit
			}
			if d.HandedOut >= CrashLoopLimit {
				return Permanent(ReasonCrashLoop, errCrashLoop)
			}
			err := next(ctx, d)
			if _, ended := Ended(err); ended || ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return err
			}
			if _, blocked := errors.AsType[*blockedError](err); blocked {
				return err
			}
			if at := now(); at.Sub(firstFailed(d, at))-d.PausedFor >= p.GiveUpAfter {
				return Permanent(ReasonExhausted, err)
			}
			return err
		}
	}
}

// OnEnd calls fn once the work of a delivery has ended for good, before the broker hears of it: outcome is handled, one
// of the Drop constants, or, with dead, one of the Reason constants. An error of fn keeps the event: its handler runs
// again after the last retry level, for as long as it takes and without counting as a failed try.
func OnEnd(fn func(ctx context.Context, d Delivery, outcome string, dead bool) error) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, d Delivery) error {
			err := next(ctx, d)
			end, ended := endOf(err)
			if !ended {
				return err
			}
			if err := fn(ctx, d, end.outcome, end.dead); err != nil {
				return NotYet(math.MaxInt64, err)
			}
			return err
		}
	}
}

// Ended reports whether err, a handler's result, is the last word on its delivery, and which: handled, a Drop constant
// or a Reason constant.
func Ended(err error) (outcome string, ended bool) {
	end, ended := endOf(err)
	return end.outcome, ended
}
