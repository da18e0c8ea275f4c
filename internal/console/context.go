package console

import "context"

type factKey struct{}

// With returns a context in which effects are those of f.
func With(ctx context.Context, f Fact) context.Context { return context.WithValue(ctx, factKey{}, f) }

// Effect records what the handler of ctx's event has done. Without an event it does nothing: a request or a background job
// has done it.
func (r *Recorder) Effect(ctx context.Context, what string) {
	if f, ok := ctx.Value(factKey{}).(Fact); ok {
		r.Record(f, Effect, what)
	}
}
