//go:build e2e

package e2e

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// TestLimits checks what may be done how often, also by many requests at once on two apis.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)
	for name, test := range map[string]func(*testing.T, *harness.TestSystem, *eventRecorder){
		"five wrong codes and it is dead":   wrongCodes,
		"a resend waits for a minute":       resend,
		"a code dies after its time":        expired,
		"wrong tries at once":               wrongAtOnce,
		"right tries at once":               rightAtOnce,
		"registrations of one address":      registerAtOnce,
		"cancellations of one subscription": cancelAtOnce,
		"resends at once send one mail":     resendAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, s, recorded) })
	}
	t.Run("of two codes that wait only the newer one is mailed", replacedCode)
}

func wrongCodes(t *testing.T, s *harness.TestSystem, _ *eventRecorder) {
	p := registered(t, s)
	for range 5 {
		refused(t, http.StatusBadRequest, 20005)(p.client.Verify(t.Context(), p.email, p.wrongCode()))
	}
	refused(t, http.StatusTooManyRequests, 20008)(p.client.Verify(t.Context(), p.email, p.wrongCode()))
	refused(t, http.StatusTooManyRequests, 20008)(p.client.Verify(t.Context(), p.email, p.code))
	want(t, http.StatusOK)(p.client.SendCode(t.Context(), p.email, harness.Password))
	newCode(t, s, p)
	p.verify(t)
}

// aMinuteLater makes the newest code a minute older.
func aMinuteLater(t *testing.T, s *harness.TestSystem, p *person) {
	t.Helper()
	_, err := s.DB.ExecContext(t.Context(), `UPDATE code_requests SET code_at = code_at - interval '60 seconds',
		expires_at = expires_at - interval '60 seconds' WHERE user_id = $1`, p.id)
	require.NoError(t, err)
}

// newCode waits for the second mail and keeps its code.
func newCode(t *testing.T, s *harness.TestSystem, p *person) {
	t.Helper()
	mails, err := s.Mailbox.Wait(t.Context(), p.email, 2)
	require.NoError(t, err)
	require.Len(t, mails, 2)
	require.NotEqual(t, mails[0].MessageID, mails[1].MessageID)
	p.code = mails[1].Code()
}

func resend(t *testing.T, s *harness.TestSystem, _ *eventRecorder) {
	p := registered(t, s)
	old := p.code
	first := mailEvent(t, s, p)
	refused(t, http.StatusUnauthorized, 20004)(p.client.SendCode(t.Context(), p.email, "not the password"))
	want(t, http.StatusOK)(p.client.SendCode(t.Context(), p.email, harness.Password))
	require.Equal(t, first, mailEvent(t, s, p), "within a minute nothing is sent")

	aMinuteLater(t, s, p)
	want(t, http.StatusOK)(p.client.SendCode(t.Context(), p.email, harness.Password))
	newCode(t, s, p)
	if old != p.code { // once in a million they are equal
		refused(t, http.StatusBadRequest, 20005)(p.client.Verify(t.Context(), p.email, old))
	}
	p.verify(t)
	refused(t, http.StatusConflict, 20006)(p.client.SendCode(t.Context(), p.email, harness.Password))
}

func expired(t *testing.T, s *harness.TestSystem, _ *eventRecorder) {
	p := registered(t, s)
	_, err := s.DB.ExecContext(t.Context(), "UPDATE code_requests SET expires_at = now() WHERE user_id = $1", p.id)
	require.NoError(t, err)
	refused(t, http.StatusBadRequest, 20007)(p.client.Verify(t.Context(), p.email, p.code))
	require.Zero(t, s.Count("SELECT count(*) FROM subscriptions WHERE user_id = $1", p.id))
}

// atOnce makes 20 requests at the same time and returns how often each error_code came.
func atOnce(t *testing.T, s *harness.TestSystem, request func(*harness.Client) (harness.Answer, error)) map[int]int {
	t.Helper()
	client := s.Client()
	answers, errs := make([]harness.Answer, 20), make([]error, 20)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			<-start
			for {
				answers[i], errs[i] = request(client)
				if answers[i].Message != busy { // who is told to come again does
					return
				}
			}
		})
	}
	close(start)
	all.Wait()
	codes := map[int]int{}
	for i, a := range answers {
		require.NoError(t, errs[i])
		codes[a.ErrorCode]++
	}
	return codes
}

func wrongAtOnce(t *testing.T, s *harness.TestSystem, _ *eventRecorder) {
	p := registered(t, s)
	codes := atOnce(t, s, func(*harness.Client) (harness.Answer, error) {
		return p.client.Verify(t.Context(), p.email, p.wrongCode())
	})
	require.Equal(t, map[int]int{20005: 5, 20008: 15}, codes)
	require.Equal(t, 5, s.Count("SELECT wrong_tries FROM code_requests WHERE user_id = $1", p.id))
}

func rightAtOnce(t *testing.T, s *harness.TestSystem, recorded *eventRecorder) {
	p := registered(t, s)
	codes := atOnce(t, s, func(*harness.Client) (harness.Answer, error) {
		return p.client.Verify(t.Context(), p.email, p.code)
	})
	require.Equal(t, map[int]int{0: 1, 20006: 19}, codes)
	require.Equal(t, 1, s.Count("SELECT count(*) FROM subscriptions WHERE user_id = $1", p.id))
	recorded.wait("subscription.created", p.id)
	s.OutboxEmpty()
	require.Len(t, about(recorded, "subscription.created", p), 1)
}

// about returns the events of a key that are about the person.
func about(recorded *eventRecorder, key string, p *person) (events []event) {
	for _, e := range recorded.events(key) {
		var data struct {
			UserID string `json:"user_id"`
		}
		if e.data(&data) == nil && data.UserID == p.id {
			events = append(events, e)
		}
	}
	return events
}

func registerAtOnce(t *testing.T, s *harness.TestSystem, _ *eventRecorder) {
	email := harness.Email()
	codes := atOnce(t, s, func(c *harness.Client) (harness.Answer, error) {
		return c.Register(t.Context(), email, harness.Password)
	})
	require.Equal(t, map[int]int{0: 5, 20008: 15}, codes) // a client without an address pushes nobody out
	require.Equal(t, 1, s.Count("SELECT count(*) FROM users WHERE lower(username) = $1", email))
	require.Equal(t, 5, s.Count("SELECT count(*) FROM code_requests WHERE email = $1", email), "as many as an address has")
	s.OutboxEmpty()
}

func cancelAtOnce(t *testing.T, s *harness.TestSystem, recorded *eventRecorder) {
	p := verified(t, s)
	path := "/subscriptions/" + mySubscription(t, p).ID + "/cancel"
	codes := atOnce(t, s, func(*harness.Client) (harness.Answer, error) {
		return p.client.Call(t.Context(), http.MethodPost, path, nil)
	})
	require.Equal(t, map[int]int{0: 1, 130009: 19}, codes)
	recorded.wait("subscription.cancelled", p.id)
	s.OutboxEmpty()
	require.Len(t, about(recorded, "subscription.cancelled", p), 1)
}

func resendAtOnce(t *testing.T, s *harness.TestSystem, recorded *eventRecorder) {
	p := registered(t, s)
	aMinuteLater(t, s, p)
	codes := atOnce(t, s, func(c *harness.Client) (harness.Answer, error) {
		return c.SendCode(t.Context(), p.email, harness.Password)
	})
	require.Equal(t, map[int]int{0: 20}, codes)
	newCode(t, s, p)
	s.OutboxEmpty()
	require.Len(t, about(recorded, "email.verification.requested", p), 2)
}

// replacedCode checks that of two codes that wait to be mailed only the newer one is sent.
func replacedCode(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1})
	p := register(t, s)
	old := mailEvent(t, s, p)
	aMinuteLater(t, s, p)
	want(t, http.StatusOK)(p.client.SendCode(t.Context(), p.email, harness.Password))
	s.OutboxEmpty()

	consumer := s.NewConsumer()
	require.NoError(t, consumer.Start(t.Context()))
	s.WaitLine(consumer, old, `"outcome":"superseded"`)
	mail := oneMail(t, s, p.email)
	require.Contains(t, mail.MessageID, mailEvent(t, s, p))
	state, _ := ledger(t, s, old)
	require.Equal(t, "superseded", state)
	p.code = mail.Code()
	p.verify(t)
}
