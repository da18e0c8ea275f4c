package event

import (
	"context"
	"fmt"
)

// Handler does the work of one delivery. What it returns decides what happens next; see [Decide].
type Handler func(ctx context.Context, d Delivery) error

// Handle returns a Handler for a function that wants its event decoded. An event that cannot be read, or whose data
// does not pass its Validate, is dead-lettered with the reason, and fn is not called.
func Handle[T Payload](fn func(ctx context.Context, e Received, data T) error) Handler {
	return func(ctx context.Context, d Delivery) error {
		e, data, err := Decode[T](d.Message)
		if err != nil {
			return err
		}
		if d.Decoded != nil {
			*d.Decoded = e
		}
		if err := data.Validate(); err != nil {
			return Permanent(ReasonInvalid, fmt.Errorf("event: %s: %w", e.Key, err))
		}
		if err := checkIDs(data); err != nil {
			return Permanent(ReasonInvalid, fmt.Errorf("event: %s: %w", e.Key, err))
		}
		return fn(ctx, e, data)
	}
}

// Router finds the handler of a routing key. It is filled before the first delivery and only read afterwards.
type Router struct{ handlers map[RoutingKey]Handler }

// NewRouter returns an empty router.
func NewRouter() *Router { return &Router{map[RoutingKey]Handler{}} }

// On registers the handler of a key. It panics when the key has one already, which is a programming mistake.
func (r *Router) On(key RoutingKey, h Handler) {
	if _, taken := r.handlers[key]; taken {
		panic(fmt.Sprintf("event: routing key %q already has a handler", key))
	}
	r.handlers[key] = h
}

// Dispatch runs the handler of d's routing key. An unknown key is Permanent.
func (r *Router) Dispatch(ctx context.Context, d Delivery) error {
	h, ok := r.handlers[RoutingKey(d.RoutingKey)]
	switch {
	case !ok && d.Unfit != nil:
		return d.Unfit
	case !ok:
		return Permanent(ReasonUnknownKey, fmt.Errorf("event: no handler for routing key %q", d.RoutingKey))
	}
	return h(ctx, d)
}
