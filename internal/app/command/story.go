package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

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
	text, err := st.mail(ctx)
	if err != nil {
		return err
	}
	st.code = sixDigits.FindString(text)
	if st.code == "" {
		return errors.New("the mail holds no six-digit code")
	}
	return nil
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// mail tells An's next mail and returns its text.
func (st *story) mail(ctx context.Context) (string, error) {
	st.mails++
	mails, err := st.s.Inbox().Wait(ctx, demoEmail, st.mails)
	if err != nil {
		return "", err
	}
	mail := mails[0] // the newest
	st.say("From:    %s", mail.From)
	st.say("To:      %s", mail.To)
	st.say("Subject: %s", mail.Subject)
	for line := range strings.Lines(mail.Text) {
		st.say("| %s", strings.TrimRight(line, "\r\n"))
	}
	return mail.Text, nil
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

func (st *story) login(ctx context.Context) error {
	if err := st.call(ctx, http.MethodPost, "/authentication/login", http.StatusOK, demoCredentials, nil); err != nil {
		return err
	}
	return st.call(ctx, http.MethodGet, "/subscriptions/me", http.StatusOK, "", nil)
}

func (st *story) firstReminder(ctx context.Context) error { return st.reminder(ctx, 11) }

func (st *story) secondReminder(ctx context.Context) error { return st.reminder(ctx, 2) }

// reminder lets days pass, at the end of which An gets a mail.
func (st *story) reminder(ctx context.Context, days int) error {
	if err := st.pass(ctx, days); err != nil {
		return err
	}
	if _, err := st.next(ctx, event.EmailTrialEndingRequested); err != nil {
		return err
	}
	_, err := st.mail(ctx)
	return err
}

func (st *story) pass(ctx context.Context, days int) error {
	return st.call(ctx, http.MethodPost, "/dev/clock/advance", http.StatusOK, fmt.Sprintf(`{"days":%d}`, days), nil)
}

func (st *story) trialEnds(ctx context.Context) error {
	if err := st.pass(ctx, 1); err != nil {
		return err
	}
	m, err := st.next(ctx, event.SubscriptionCancelled)
	if err != nil {
		return err
	}
	st.say("%s  %s", m.RoutingKey, m.ID)
	st.say("%s", m.Body)
	if err := st.state(ctx, "expired"); err != nil {
		return err
	}
	return st.entitled(ctx, false)
}

// entitled wants An to be entitled, or not.
func (st *story) entitled(ctx context.Context, want bool) error {
	var answer struct{ Entitled bool }
	path := "/internal/users/" + st.userID + "/entitlement"
	if err := st.call(ctx, http.MethodGet, path, http.StatusOK, "", &answer); err != nil {
		return err
	}
	if answer.Entitled != want {
		return fmt.Errorf("%s says entitled: %t", path, answer.Entitled)
	}
	return nil
}

const (
	adminEmail       = "admin@example.com"
	adminCredentials = `{"email":"` + adminEmail + `","password":"a battery of staples"}`
)

// addPlan makes an administrator, as `api user promote` does, who adds a plan.
func (st *story) addPlan(ctx context.Context) error {
	admin := newClient()
	register := "/authentication/register"
	if err := st.callAs(ctx, admin, http.MethodPost, register, http.StatusCreated, adminCredentials, nil); err != nil {
		return err
	}
	mails, err := st.s.Inbox().Wait(ctx, adminEmail, 1)
	if err != nil {
		return err
	}
	body := `{"email":"` + adminEmail + `","otp":"` + sixDigits.FindString(mails[0].Text) + `"}`
	verify := "/authentication/verify-otp"
	if err := st.callAs(ctx, admin, http.MethodPost, verify, http.StatusOK, body, nil); err != nil {
		return err
	}
	if err := st.s.Promote(ctx, adminEmail); err != nil {
		return err
	}
	plan := `{"name":"Professional","code":"pro","description":"For teams","max_usage":1000}`
	return st.callAs(ctx, admin, http.MethodPost, "/plans", http.StatusCreated, plan, nil)
}

func (st *story) pay(ctx context.Context) error {
	now := st.s.Now()
	body := fmt.Sprintf(`{"plan_code":"pro","status":"active","ends_at":%q,"occurred_at":%q}`,
		now.AddDate(0, 1, 0).Format(time.RFC3339), now.Format(time.RFC3339Nano))
	path := "/internal/subscriptions/users/" + st.userID
	if err := st.call(ctx, http.MethodPut, path, http.StatusOK, body, nil); err != nil {
		return err
	}
	if err := st.state(ctx, "active"); err != nil {
		return err
	}
	return st.entitled(ctx, true)
}

// cancel logs in again before it cancels: the token of two weeks ago has expired.
func (st *story) cancel(ctx context.Context) error {
	if err := st.call(ctx, http.MethodPost, "/authentication/login", http.StatusOK, demoCredentials, nil); err != nil {
		return err
	}
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
	if err := st.state(ctx, "cancelled"); err != nil {
		return err
	}
	return st.entitled(ctx, true)
}
