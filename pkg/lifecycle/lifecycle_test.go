package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// diary records the order of events.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) note(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

// obedient works until it is asked to stop.
func (d *diary) obedient(name string) Role {
	return Role{name, func(ctx context.Context) error {
		<-ctx.Done()
		d.note(name)
		return ctx.Err()
	}}
}

func failing(name string, err error) Role {
	return Role{name, func(context.Context) error { return err }}
}

// stuck ignores its context until release is closed.
func stuck(name string, release <-chan struct{}) Role {
	return Role{name, func(context.Context) error { <-release; return nil }}
}

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("stops the stages in order", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		var d diary
		started := make(chan struct{})
		first := Role{"http", func(ctx context.Context) error {
			close(started)
			<-ctx.Done()
			// Give later stages every chance to stop too early.
			for range 100 {
				runtime.Gosched()
			}
			d.note("http")
			return nil
		}}
		go func() { <-started; cancel() }()
		require.NoError(t, Run(ctx, zerolog.Nop(), time.Minute,
			[]Role{first}, []Role{d.obedient("relay")}, nil, []Role{d.obedient("broker")}, []Role{d.obedient("db")}))
		require.Equal(t, []string{"http", "relay", "broker", "db"}, d.entries)
	})

	t.Run("stops the roles of one stage together", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		meet := make(chan struct{})
		err := Run(ctx, zerolog.Nop(), time.Minute, []Role{
			{"a", func(ctx context.Context) error { <-ctx.Done(); meet <- struct{}{}; return nil }},
			{"b", func(ctx context.Context) error { <-ctx.Done(); <-meet; return nil }},
		})
		require.NoError(t, err)
	})

	t.Run("gives roles the values of its context but not its end", func(t *testing.T) {
		t.Parallel()
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		cancel()
		proceed := make(chan struct{})
		err := Run(ctx, zerolog.Nop(), time.Minute,
			[]Role{{"first", func(ctx context.Context) error { <-proceed; <-ctx.Done(); return nil }}},
			[]Role{{"second", func(ctx context.Context) error {
				defer close(proceed)
				if ctx.Err() != nil {
					return errors.New("the second stage ends before the first")
				}
				if ctx.Value(key{}) != "value" {
					return errors.New("the value is lost")
				}
				proceed <- struct{}{} // keeps this role alive until the first one is being stopped
				<-ctx.Done()
				return nil
			}}})
		require.NoError(t, err)
	})

	t.Run("stops everything and names the role that exits early", func(t *testing.T) {
		t.Parallel()
		cause := errors.New("the port is taken")
		for name, tt := range map[string]struct {
			role Role
			want string
		}{
			"error":    {failing("http", cause), "http failed: the port is taken"},
			"nil":      {failing("http", nil), "http exited early"},
			"panic":    {Role{"http", func(context.Context) error { panic("boom") }}, "http failed: panic: boom"},
			"goexit":   {Role{"http", func(context.Context) error { runtime.Goexit(); return nil }}, "http failed: its goroutine ended by runtime.Goexit"},
			"canceled": {failing("http", context.Canceled), "http failed: context canceled"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var d diary
				err := Run(t.Context(), zerolog.Nop(), time.Minute,
					[]Role{d.obedient("consumer")}, []Role{tt.role, d.obedient("relay")}, []Role{d.obedient("db")})
				require.EqualError(t, err, tt.want)
				require.Equal(t, []string{"consumer", "relay", "db"}, d.entries)
			})
		}
		err := Run(t.Context(), zerolog.Nop(), time.Minute, []Role{failing("http", cause)})
		require.ErrorIs(t, err, cause)
	})

	t.Run("logs the stack of a panic", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		err := Run(t.Context(), zerolog.New(zerolog.SyncWriter(&out)), time.Minute, []Role{{"http", panicking}})
		require.Error(t, err)
		require.Contains(t, out.String(), `"role":"http"`)
		require.Contains(t, out.String(), "lifecycle.panicking", "the stack names the function at fault")
	})

	t.Run("joins early exits and unclean stops in order", func(t *testing.T) {
		t.Parallel()
		first, second := errors.New("first"), errors.New("second")
		err := Run(t.Context(), zerolog.Nop(), time.Minute,
			[]Role{failing("http", first)},
			[]Role{{"relay", func(ctx context.Context) error { <-ctx.Done(); return second }}})
		require.EqualError(t, err, "http failed: first\nrelay did not stop cleanly: second")
		require.ErrorIs(t, err, first)
		require.ErrorIs(t, err, second)
	})

	t.Run("reports an early exit while stopping", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			stopping := make(chan struct{})
			err := Run(ctx, zerolog.Nop(), time.Minute,
				[]Role{{"http", func(ctx context.Context) error {
					<-ctx.Done()
					close(stopping)
					synctest.Wait() // until Run has recorded the broker's exit
					return nil
				}}},
				[]Role{{"broker", func(context.Context) error { <-stopping; return errors.New("connection lost") }}})
			require.EqualError(t, err, "broker failed: connection lost")
		})
	})

	t.Run("names a role that does not stop and leaves it behind", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			release := make(chan struct{})
			var d diary
			began := time.Now()
			err := Run(ctx, zerolog.Nop(), 20*time.Second,
				[]Role{stuck("http", release), stuck("http", release), d.obedient("metrics")},
				[]Role{stuck("relay", release)}, []Role{d.obedient("db")})
			require.EqualError(t, err, "http did not stop in time\nhttp did not stop in time\nrelay did not stop in time")
			require.Equal(t, []string{"metrics", "db"}, d.entries, "the later stages are still stopped")
			require.Equal(t, 20*time.Second+lateGrace, time.Since(began))
			close(release) // synctest requires every goroutine to end
		})
	})

	t.Run("waits for the context without roles", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, Run(ctx, zerolog.Nop(), time.Second))
	})
}

func panicking(context.Context) error { panic("boom") }
