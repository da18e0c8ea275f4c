package event

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
)

// Handler does the work of one event. What it returns decides what happens next: see Decide.
type Handler func(ctx context.Context, e Received) error

// Handle makes a Handler from a function that wants its data typed. Data that cannot be read, or whose Validate
// fails, is dead-lettered with the reason; the function is not called.
func Handle[T Payload](fn func(ctx context.Context, e Received, data T) error) Handler {
	return func(ctx context.Context, e Received) error {
		var data T
		if err := json.Unmarshal(e.data, &data); err != nil {
			// The decoder's own text may quote the value, which can be a code.
			return Permanent(ReasonInvalid, fmt.Errorf("event: data of %s does not have the registered types", e.Key))
		}
		if err := data.Validate(); err != nil {
			return Permanent(ReasonInvalid, fmt.Errorf("event: %s: %w", e.Key, err))
		}
		return fn(ctx, e, data)
	}
}

// Router finds the handler of a routing key. It is filled before the first delivery and only read afterwards.
type Router struct{ handlers map[RoutingKey]Handler }

// NewRouter answers an empty router.
func NewRouter() *Router { return &Router{handlers: map[RoutingKey]Handler{}} }

// On registers the handler of a key. Two handlers for one key are a programming mistake: it panics.
func (r *Router) On(key RoutingKey, h Handler) {
	if _, taken := r.handlers[key]; taken {
		panic(fmt.Sprintf("event: routing key %q already has a handler", key))
	}
	r.handlers[key] = h
}

// Dispatch decodes a delivery and runs its handler. An unknown key and an unreadable body are Permanent; a panic
// is a *PanicError.
func (r *Router) Dispatch(ctx context.Context, d Delivery) (err error) {
	h, ok := r.handlers[RoutingKey(d.RoutingKey)]
	if !ok {
		return Permanent(ReasonUnknownKey, fmt.Errorf("event: no handler for routing key %q", d.RoutingKey))
	}
	e, err := Decode(d.Message)
	if err != nil {
		return err
	}
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return h(ctx, e)
}
