package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

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
	s, err := app.NewStandalone(i.Context(), i.cfg, version(), zerolog.Nop())
	if err != nil {
		return err
	}
	events, untap := s.Tap("#")
	defer untap()
	jar, _ := cookiejar.New(nil) // it never fails

	serving, stop := context.WithCancel(i.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(serving) }()
	st := &story{
		out:    i.OutOrStdout(),
		s:      s,
		client: &http.Client{Jar: jar, Timeout: demoPatience},
		events: events,
	}
	told := st.tell(i.Context())
	stop()
	return errors.Join(told, <-stopped)
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
		{"An cancels; what was granted lasts until its end", st.cancel},
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

func (st *story) register(ctx context.Context) error {
	return st.call(ctx, http.MethodPost, "/authentication/register", http.StatusCreated, demoCredentials, nil)
}

func (st *story) requestLeaves(ctx context.Context) error {
	m, err := st.next(ctx, event.EmailVerificationRequested)
	if err != nil {
		return err
	}
	_, data, err := event.Decode[event.VerificationRequested](m)
	if err != nil {
		return err
	}
	st.userID = data.UserID
	st.say("%s  %s", m.RoutingKey, m.ID)
	st.say("%s", digits.ReplaceAllString(string(m.Body), `"otp_code":"······"`))
	st.say("the request's trace travels with it: %s", m.Headers[event.HeaderTraceparent])
	return nil
}

var digits = regexp.MustCompile(`"otp_code":"\d{6}"`)

func (st *story) mailArrives(ctx context.Context) error {
	mails, err := st.s.Inbox().Wait(ctx, demoEmail, 1)
	if err != nil {
		return err
	}
	mail := mails[0]
	st.code = regexp.MustCompile(`\b\d{6}\b`).FindString(mail.Text)
	if st.code == "" {
		return errors.New("the mail holds no six-digit code")
	}
	st.say("From:    %s", mail.From)
	st.say("To:      %s", mail.To)
	st.say("Subject: %s", mail.Subject)
	for line := range strings.Lines(mail.Text) {
		st.say("| %s", strings.TrimRight(line, "\r\n"))
	}
	return nil
}

func (st *story) wrongCode(ctx context.Context) error {
	wrong := "000000"
	if st.code == wrong {
		wrong = "000001"
	}
	return st.enter(ctx, wrong, http.StatusBadRequest)
}

func (st *story) verify(ctx context.Context) error { return st.enter(ctx, st.code, http.StatusOK) }

func (st *story) enter(ctx context.Context, code string, want int) error {
	body := `{"email":"` + demoEmail + `","otp":"` + code + `"}`
	return st.call(ctx, http.MethodPost, "/authentication/verify-otp", want, body, nil)
}

func (st *story) trialIsPublished(ctx context.Context) error {
	m, err := st.next(ctx, event.SubscriptionCreated)
	if err != nil {
		return err
	}
	st.say("%s  %s", m.RoutingKey, m.ID)
	st.say("%s", m.Body)
	return nil
}

func (st *story) trialIsInRedis(ctx context.Context) error { return st.state(ctx, "trialing") }

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

func (st *story) login(ctx context.Context) error {
	if err := st.call(ctx, http.MethodPost, "/authentication/login", http.StatusOK, demoCredentials, nil); err != nil {
		return err
	}
	return st.call(ctx, http.MethodGet, "/subscriptions/me", http.StatusOK, "", nil)
}

func (st *story) cancel(ctx context.Context) error {
	var mine struct {
		ID string `json:"id"`
	}
	if err := st.call(ctx, http.MethodGet, "/subscriptions/me", http.StatusOK, "", &mine); err != nil {
		return err
	}
	path := "/subscriptions/" + mine.ID + "/cancel"
	if err := st.call(ctx, http.MethodPost, path, http.StatusOK, `{"reason":"only looking"}`, nil); err != nil {
		return err
	}
	if _, err := st.next(ctx, event.SubscriptionCancelled); err != nil {
		return err
	}
	return st.state(ctx, "cancelled")
}

// call sends one request, tells it and its response, and wants the given status. data, unless nil, gets the response's
// data.
func (st *story) call(ctx context.Context, method, path string, want int, body string, data any) error {
	request, err := http.NewRequestWithContext(ctx, method, st.s.APIURL()+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	started := time.Now()
	response, err := st.client.Do(request)
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
