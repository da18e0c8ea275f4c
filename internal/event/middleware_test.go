package event_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

func clock() time.Time { return now }

// returning is a handler that always returns err.
func returning(err error) event.Handler {
	return func(context.Context, event.Delivery) error { return err }
}

func panicking(context.Context, event.Delivery) error { panic("lost my head") }

func TestChain(t *testing.T) {
	t.Parallel()
	var calls []string
	note := func(name string) event.Middleware {
		return func(next event.Handler) event.Handler {
			return func(ctx context.Context, d event.Delivery) error {
				calls = append(calls, name)
				return next(ctx, d)
			}
		}
	}
	h := event.Chain(returning(errWrapped), note("outer"), note("inner"))
	require.ErrorIs(t, h(t.Context(), event.Delivery{}), errWrapped)
	require.Equal(t, []string{"outer", "inner"}, calls)
}

func TestRecover(t *testing.T) {
	t.Parallel()
	err := event.Chain(panicking, event.Recover)(t.Context(), event.Delivery{})
	panicked, ok := errors.AsType[*event.PanicError](err)
	require.True(t, ok)
	require.Contains(t, string(panicked.Stack), "middleware_test.go")
	require.Equal(t, "panic", event.ErrorClass(err))
	require.NoError(t, event.Chain(returning(nil), event.Recover)(t.Context(), event.Delivery{}))
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	hangs := func(ctx context.Context, _ event.Delivery) error {
		<-ctx.Done()
		return ctx.Err()
	}
	err := event.Chain(hangs, event.Timeout(time.Millisecond))(t.Context(), event.Delivery{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestLimit(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		err      error
		delivery event.Delivery
		outcome  string // empty: err comes back as it was
		class    string
	}{
		"a first failure is not final":                      {boom, event.Delivery{}, "", ""},
		"just in time":                                      {boom, tried(9, time.Hour-time.Microsecond), "", ""},
		"too late is exhausted, with its class":             {classed{}, tried(9, time.Hour), event.ReasonExhausted, "smtp_450"},
		"not yet, for too long, is exhausted":               {event.NotYet(time.Second, boom), tried(1, 2*time.Hour), event.ReasonExhausted, "error"},
		"a panic, for too long, is exhausted":               {&event.PanicError{}, tried(1, 2*time.Hour), event.ReasonExhausted, "panic"},
		"success is final whenever it comes":                {nil, tried(9, 2*time.Hour), event.Handled, ""},
		"a drop keeps its reason":                           {event.Drop(event.DropStale), tried(9, 2*time.Hour), event.DropStale, ""},
		"a permanent failure keeps its reason":              {event.Permanent(event.ReasonRejected, boom), tried(9, 2*time.Hour), event.ReasonRejected, "error"},
		"cancelled by something else, too late, is as well": {context.Canceled, tried(9, time.Hour), event.ReasonExhausted, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := event.Chain(returning(c.err), event.Limit(policy, clock))(t.Context(), c.delivery)
			outcome, ended := event.Ended(err)
			require.Equal(t, c.outcome != "", ended)
			require.Equal(t, c.outcome, outcome)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
			}
			if c.class != "" {
				require.Equal(t, c.class, event.ErrorClass(err))
			}
		})
	}
	t.Run("what a shutdown has cut off is not given up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := event.Chain(returning(fmt.Errorf("x: %w", context.Canceled)), event.Limit(policy, clock))(ctx, tried(9, time.Hour))
		require.Equal(t, event.Requeue, event.Decide(err, tried(9, time.Hour), policy, true, now).Action)
	})
	t.Run("a crash loop is dead before its handler runs again", func(t *testing.T) {
		t.Parallel()
		runs := 0
		h := event.Chain(func(context.Context, event.Delivery) error { runs++; return nil }, event.Limit(policy, clock))
		d := tried(2, time.Minute)
		d.HandedOut = event.CrashLoopLimit - 1
		require.NoError(t, h(t.Context(), d))
		d.HandedOut++
		err := h(t.Context(), d)
		require.ErrorContains(t, err, "kill its handler")
		require.Equal(t, 1, runs)
		decision := event.Decide(err, d, policy, false, now)
		require.Equal(t, event.Dead, decision.Action)
		require.Equal(t, event.ReasonCrashLoop, decision.Outcome)
		require.Equal(t, event.ReasonCrashLoop, decision.Headers[event.HeaderDeadReason])
		require.Equal(t, event.ReasonCrashLoop, decision.Headers[event.HeaderError])
		require.Equal(t, "email.x", decision.Headers[event.HeaderRoutingKey])
		require.Equal(t, "2", decision.Headers[event.HeaderAttempts])
	})
}

func TestOnEnd(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	type end struct {
		outcome string
		dead    bool
	}
	// run returns what the end was told and what came back, where refusal is the end's own answer.
	run := func(handled, refusal error, d event.Delivery) (ends []end, err error) {
		h := event.Chain(returning(handled),
			event.OnEnd(func(_ context.Context, _ event.Delivery, outcome string, dead bool) error {
				ends = append(ends, end{outcome, dead})
				return refusal
			}),
			event.Limit(policy, clock),
		)
		err = h(t.Context(), d)
		return ends, err
	}
	crashed := tried(2, time.Minute)
	crashed.HandedOut = event.CrashLoopLimit
	endings := map[string]struct {
		handled  error
		delivery event.Delivery
		want     end
	}{
		"done":         {nil, tried(2, 2*time.Hour), end{event.Handled, false}},
		"dropped":      {event.Drop(event.DropExpired), tried(2, 2*time.Hour), end{event.DropExpired, false}},
		"dead":         {event.Permanent(event.ReasonRejected, boom), tried(2, 2*time.Hour), end{event.ReasonRejected, true}},
		"exhausted":    {boom, tried(2, 2*time.Hour), end{event.ReasonExhausted, true}},
		"a crash loop": {nil, crashed, end{event.ReasonCrashLoop, true}},
	}
	for name, c := range endings {
		t.Run(name+" is an end", func(t *testing.T) {
			t.Parallel()
			ends, err := run(c.handled, nil, c.delivery)
			require.Equal(t, []end{c.want}, ends)
			outcome, ended := event.Ended(err)
			require.True(t, ended)
			require.Equal(t, c.want.outcome, outcome)
		})
		t.Run(name+", refused, is tried again at the last level and not counted", func(t *testing.T) {
			t.Parallel()
			ends, err := run(c.handled, classed{}, c.delivery)
			require.Len(t, ends, 1)
			require.ErrorIs(t, err, classed{})
			decision := event.Decide(err, c.delivery, policy, true, now)
			require.Equal(t, event.Retry, decision.Action)
			require.Equal(t, len(policy.Levels)-1, decision.Level)
			require.Equal(t, "2", decision.Headers[event.HeaderAttempts])
			require.Equal(t, "3", decision.Headers[event.HeaderMoves])
			require.Equal(t, "smtp_450", decision.Headers[event.HeaderError])
		})
	}
	for name, handled := range map[string]error{
		"a failure":           boom,
		"not yet":             event.NotYet(time.Second, boom),
		"cut off by the stop": context.Canceled,
	} {
		t.Run(name+" is no end", func(t *testing.T) {
			t.Parallel()
			ends, err := run(handled, nil, tried(2, time.Minute))
			require.Empty(t, ends)
			require.Equal(t, handled, err)
		})
	}
}

func TestRouter(t *testing.T) {
	t.Parallel()
	router := event.NewRouter()
	router.On("a.fail", returning(classed{}))
	dispatch := func(key string) error {
		return router.Dispatch(t.Context(), event.Delivery{Message: event.Message{RoutingKey: key}})
	}
	t.Run("a key has one handler", func(t *testing.T) {
		t.Parallel()
		require.ErrorIs(t, dispatch("a.fail"), classed{})
		require.Panics(t, func() { router.On("a.fail", nil) }, "a second one is found at the start")
	})
	t.Run("an unknown key is permanent", func(t *testing.T) {
		t.Parallel()
		outcome, _ := event.Ended(dispatch("a.other"))
		require.Equal(t, event.ReasonUnknownKey, outcome)
		require.ErrorContains(t, dispatch("a.other"), "a.other")
	})
}

func TestHandle(t *testing.T) {
	t.Parallel()
	h := event.Handle(func(context.Context, event.Received, event.VerificationRequested) error { return nil })
	body := `{"event_id":"e","payload":{"project_id":"p","data":{"otp_code":"012345"}}}`
	d := event.Delivery{
		Message: event.Message{RoutingKey: "email.verification.requested", Body: []byte(body)},
		Decoded: &event.Received{},
	}
	outcome, _ := event.Ended(h(t.Context(), d))
	require.Equal(t, event.ReasonInvalid, outcome)
	require.Equal(t, event.Received{ID: "e", Key: event.EmailVerificationRequested, ProjectID: "p"}, *d.Decoded)
}

var errWrapped = errors.New("wrapped")
