package command

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event"
)

const (
	// demoPatience is how long one step may take.
	demoPatience = 10 * time.Second

	demoEmail       = "an.nguyen@example.com"
	demoCredentials = `{"email":"` + demoEmail + `","password":"correct horse battery"}`
)

// story walks a person's way on a running standalone and tells it. Every step fails unless it has seen what it tells.
type story struct {
	out    io.Writer
	s      *app.Standalone
	client *http.Client
	events <-chan event.Message
	key    string // the internal key
	mails  int    // that An has got so far
	code   string
	userID string
}

// demo runs the story on a standalone of its own, on free ports and in a folder that is deleted afterwards.
func demo(i invocation) (err error) {
	dir, err := os.MkdirTemp("", "smap-identity-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	i.cfg.Embedded.DataDir, i.cfg.Embedded.InboxPort = dir, 0
	i.cfg.HTTP.AppPort, i.cfg.HTTP.ConsumerPort, i.cfg.SMTP.Port = 0, 0, 0
	i.cfg.Secrets.Internal = config.Secret(rand.Text())
	s, err := app.NewStandalone(i.Context(), i.cfg, version(), zerolog.Nop())
	if err != nil {
		return err
	}
	events, untap := s.Tap("#")
	defer untap()

	serving, stop := context.WithCancel(i.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(serving) }()
	st := &story{
		out:    i.OutOrStdout(),
		s:      s,
		client: newClient(),
		events: events,
		key:    string(i.cfg.Secrets.Internal),
	}
	told := st.tell(i.Context())
	stop()
	return errors.Join(told, <-stopped)
}

// newClient returns a client with cookies of its own.
func newClient() *http.Client {
	jar, _ := cookiejar.New(nil) // it never fails
	return &http.Client{Jar: jar, Timeout: demoPatience}
}

func (st *story) tell(ctx context.Context) error {
	steps := []struct {
		title string
		run   func(ctx context.Context) error
	}{
		{"An registers", st.register},
		{"The event as it left for " + event.Exchange, st.requestLeaves},
		{"The mail as it arrived", st.mailArrives},
		{"A wrong code is refused, and counted", st.wrongCode},
		{"The right one proves the address, and starts the trial", st.verify},
		{"Every other service hears of it", st.trialIsPublished},
		{"… and can read it in Redis", st.trialIsInRedis},
		{"An logs in and looks at the trial", st.login},
		{"Eleven days pass, and An is reminded", st.firstReminder},
		{"Two more, and An is reminded again", st.secondReminder},
		{"The fourteenth day: the trial ends", st.trialEnds},
		{"An administrator adds a plan", st.addPlan},
		{"Billing reports that An has paid for it", st.pay},
		{"An cancels; what was paid lasts until its end", st.cancel},
	}
	for i, step := range steps {
		fmt.Fprintf(st.out, "\n%d. %s\n", i+1, step.title)
		stepCtx, cancel := context.WithTimeout(ctx, demoPatience)
		err := step.run(stepCtx)
		cancel()
		if err != nil {
			return fmt.Errorf("the story broke off at step %d: %w", i+1, err)
		}
	}
	fmt.Fprintf(st.out, "\nAll %d steps were seen.\n", len(steps))
	return nil
}

func (st *story) say(format string, args ...any) { fmt.Fprintf(st.out, "   "+format+"\n", args...) }

// state waits until the hash has the wanted status: the projection follows the event.
func (st *story) state(ctx context.Context, want string) error {
	key := "smap:sub:" + st.userID
	for {
		hash, err := st.s.Redis().HGetAll(ctx, key).Result()
		if err != nil {
			return err
		}
		if hash["status"] == want {
			st.say("HGETALL %s", key)
			for _, field := range slices.Sorted(maps.Keys(hash)) {
				st.say("  %-16s %s", field, hash[field])
			}
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the hash %s has status %q, not %q", key, hash["status"], want)
		}
	}
}

// call sends one request as An, tells it and its response, and wants the given status. data, unless nil, gets the
// response's data.
func (st *story) call(ctx context.Context, method, path string, want int, body string, data any) error {
	return st.callAs(ctx, st.client, method, path, want, body, data)
}

// callAs is call by another client. The internal key goes with every request to an internal route.
func (st *story) callAs(
	ctx context.Context, client *http.Client, method, path string, want int, body string, data any,
) error {
	request, err := http.NewRequestWithContext(ctx, method, st.s.APIURL()+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/internal/") {
		request.Header.Set("X-Internal-Key", st.key)
	}
	started := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	st.say("%s %s → %d in %d ms", method, path, response.StatusCode, time.Since(started).Milliseconds())
	st.say("%s", bytes.TrimSpace(raw))
	if response.StatusCode != want {
		return fmt.Errorf("%s %s responded %d, not %d", method, path, response.StatusCode, want)
	}
	return json.Unmarshal(raw, &struct{ Data any }{data})
}

// next waits for the next event of key, passing over others.
func (st *story) next(ctx context.Context, key event.RoutingKey) (event.Message, error) {
	for {
		select {
		case m := <-st.events:
			if m.RoutingKey == string(key) {
				return m, nil
			}
		case <-ctx.Done():
			return event.Message{}, fmt.Errorf("no %s was seen", key)
		}
	}
}
