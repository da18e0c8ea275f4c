package event

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Handler does the work of one event. What it returns decides what happens next: see Decide.
type Handler func(ctx context.Context, m Message) error

// Handle makes a Handler from a function that wants its event decoded. An event that cannot be read, or whose data
// does not pass its Validate, is dead-lettered with the reason; the function is not called.
func Handle[T Payload](fn func(ctx context.Context, e Received, data T) error) Handler {
	return func(ctx context.Context, m Message) error {
		e, data, err := Decode[T](m)
		if err != nil {
			return err
		}
		if err := data.Validate(); err != nil {
			return Permanent(ReasonInvalid, fmt.Errorf("event: %s: %w", e.Key, err))
		}
		return fn(ctx, e, data)
	}
}

// Router finds the handler of a routing key. It is filled before the first delivery and only read afterwards.
type Router struct {
	handlers map[RoutingKey]Handler
	rest     Handler // nil: an unknown key is Permanent
}

// NewRouter answers an empty router.
func NewRouter() *Router { return &Router{handlers: map[RoutingKey]Handler{}} }

// On registers the handler of a key. Two handlers for one key are a programming mistake: it panics.
func (r *Router) On(key RoutingKey, h Handler) {
	if _, taken := r.handlers[key]; taken {
		panic(fmt.Sprintf("event: routing key %q already has a handler", key))
	}
	r.handlers[key] = h
}

// Wrap puts a handler around the one that a key has by now. A key without one is a programming mistake: it panics.
func (r *Router) Wrap(key RoutingKey, around func(Handler) Handler) {
	h, ok := r.handlers[key]
	if !ok {
		panic(fmt.Sprintf("event: routing key %q has no handler to wrap", key))
	}
	r.handlers[key] = around(h)
}

// Else registers the handler of every key that has none of its own, for a queue whose messages carry no key.
func (r *Router) Else(h Handler) { r.rest = h }

// Dispatch runs the handler of a delivery. An unknown key is Permanent; a panic is a *PanicError.
func (r *Router) Dispatch(ctx context.Context, d Delivery) (err error) {
	h, ok := r.handlers[RoutingKey(d.RoutingKey)]
	if !ok {
		h = r.rest
	}
	if h == nil {
		return Permanent(ReasonUnknownKey, fmt.Errorf("event: no handler for routing key %q", d.RoutingKey))
	}
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return h(ctx, d.Message)
}
