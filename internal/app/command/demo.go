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

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event"
)

// demoPatience is how long one step may take.
const demoPatience = 10 * time.Second

// demoEmail is who the story is about.
const demoEmail = "an.nguyen@example.com"

// story walks a person's way on a running standalone and tells it. Every step fails unless it has seen what it tells.
type story struct {
	out    io.Writer
	s      *app.Standalone
	client *http.Client
	events <-chan event.Message
	step   int
	code   string
	userID string
}

// demo runs the story on a standalone of its own, on free ports and in a folder that is deleted afterwards.
func demo(ctx context.Context, out io.Writer) (err error) {
	cfg, err := config.Load(config.Standalone)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "smap-identity-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.Embedded.DataDir, cfg.Embedded.InboxPort = dir, 0
	cfg.HTTP.AppPort, cfg.HTTP.ConsumerPort, cfg.SMTP.Port = 0, 0, 0
	s, err := app.NewStandalone(ctx, cfg, version(), zerolog.Nop())
	if err != nil {
		return err
	}
	events, untap := s.Tap("#")
	defer untap()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}

	serving, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(serving) }()
	st := &story{out: out, s: s, client: &http.Client{Jar: jar, Timeout: demoPatience}, events: events}
	told := st.tell(ctx)
	stop()
	return errors.Join(told, <-stopped)
}

func (st *story) tell(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		st.register, st.requestLeaves, st.mailArrives, st.wrongCode, st.verify, st.trialIsTold, st.stateInRedis, st.login, st.cancel,
	} {
		stepCtx, cancel := context.WithTimeout(ctx, demoPatience)
		err := step(stepCtx)
		cancel()
		if err != nil {
			return fmt.Errorf("the story broke off at step %d: %w", st.step, err)
		}
	}
	fmt.Fprintf(st.out, "\nAll %d steps were seen.\n", st.step)
	return nil
}

func (st *story) chapter(title string) {
	st.step++
	fmt.Fprintf(st.out, "\n%d. %s\n", st.step, title)
}

func (st *story) say(format string, args ...any) { fmt.Fprintf(st.out, "   "+format+"\n", args...) }

func (st *story) register(ctx context.Context) error {
	st.chapter("An registers")
	return st.call(ctx, http.MethodPost, "/authentication/register", http.StatusCreated,
		map[string]any{"email": demoEmail, "password": "correct horse battery"}, nil)
}

func (st *story) requestLeaves(ctx context.Context) error {
	st.chapter("The event as it left for " + event.Exchange)
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
	st.chapter("The mail as it arrived")
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
	st.chapter("A wrong code is refused, and counted")
	wrong := "000000"
	if st.code == wrong {
		wrong = "000001"
	}
	return st.call(ctx, http.MethodPost, "/authentication/verify-otp", http.StatusBadRequest,
		map[string]any{"email": demoEmail, "otp": wrong}, nil)
}

func (st *story) verify(ctx context.Context) error {
	st.chapter("The right one proves the address, and starts the trial")
	return st.call(ctx, http.MethodPost, "/authentication/verify-otp", http.StatusOK,
		map[string]any{"email": demoEmail, "otp": st.code}, nil)
}

func (st *story) trialIsTold(ctx context.Context) error {
	st.chapter("Every other service hears of it")
	m, err := st.next(ctx, event.SubscriptionCreated)
	if err != nil {
		return err
	}
	st.say("%s  %s", m.RoutingKey, m.ID)
	st.say("%s", m.Body)
	return nil
}

func (st *story) stateInRedis(ctx context.Context) error {
	st.chapter("… and can read it in Redis")
	return st.state(ctx, "trialing")
}

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
		timer := time.NewTimer(10 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("the hash %s has status %q, not %q", key, hash["status"], want)
		}
	}
}

func (st *story) login(ctx context.Context) error {
	st.chapter("An logs in and looks at the trial")
	if err := st.call(ctx, http.MethodPost, "/authentication/login", http.StatusOK,
		map[string]any{"email": demoEmail, "password": "correct horse battery"}, nil); err != nil {
		return err
	}
	return st.call(ctx, http.MethodGet, "/subscriptions/me", http.StatusOK, nil, nil)
}

func (st *story) cancel(ctx context.Context) error {
	st.chapter("An cancels; what was granted lasts until its end")
	var mine struct {
		ID string `json:"id"`
	}
	if err := st.call(ctx, http.MethodGet, "/subscriptions/me", http.StatusOK, nil, &mine); err != nil {
		return err
	}
	if err := st.call(ctx, http.MethodPost, "/subscriptions/"+mine.ID+"/cancel", http.StatusOK,
		map[string]any{"reason": "only looking"}, nil); err != nil {
		return err
	}
	if _, err := st.next(ctx, event.SubscriptionCancelled); err != nil {
		return err
	}
	return st.state(ctx, "cancelled")
}

// call makes one request, tells it and its answer, and wants the given status.
func (st *story) call(ctx context.Context, method, path string, want int, body any, data any) error {
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, st.s.APIURL()+path, payload)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
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
		return fmt.Errorf("%s %s answered %d, not %d", method, path, response.StatusCode, want)
	}
	if data == nil {
		return nil
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
