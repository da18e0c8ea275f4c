package rabbitmq_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication/delivery/rabbitmq"
	"github.com/smap-platform/identity/internal/event"
)

type codeMail struct {
	eventID string
	data    event.VerificationRequested
	calls   int
	err     error
}

func (m *codeMail) Send(_ context.Context, eventID string, d event.VerificationRequested) error {
	m.eventID, m.data, m.calls = eventID, d, m.calls+1
	return m.err
}

func (m *codeMail) SendReset(_ context.Context, eventID string, d event.PasswordResetRequested) error {
	m.eventID, m.data, m.calls = eventID, event.VerificationRequested(d), m.calls+1
	return m.err
}

type notices map[string]event.AccountExistsMail

func (n notices) SendAccountExists(_ context.Context, eventID string, d event.AccountExistsMail) error {
	n[eventID] = d
	return nil
}

var data = event.VerificationRequested{
	UserID: "user-1", Recipient: "an@example.com", OTPCode: "123456", Locale: "vi",
	ExpiresAt: time.Date(2026, 1, 31, 9, 40, 0, 123456000, time.UTC),
}

func message(t *testing.T) event.Message {
	t.Helper()
	m, err := event.Encode(event.Event{
		ID: "evt_1", Key: event.EmailVerificationRequested, Time: data.ExpiresAt, Data: data,
	})
	require.NoError(t, err)
	return m
}

func TestSendCode(t *testing.T) {
	t.Parallel()

	t.Run("hands the event over as it was published", func(t *testing.T) {
		t.Parallel()
		for name, answer := range map[string]error{"sent": nil, "superseded": event.Drop(event.DropSuperseded)} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				router, mail := event.NewRouter(), &codeMail{err: answer}
				router.On(event.EmailVerificationRequested, rabbitmq.SendCode(mail))
				require.Equal(t, answer, router.Dispatch(context.Background(), event.Delivery{Message: message(t)}))
				require.Equal(t, &codeMail{"evt_1", data, 1, answer}, mail)
			})
		}
	})

	t.Run("refuses an event that lacks a field", func(t *testing.T) {
		t.Parallel()
		for _, field := range []string{"user_id", "recipient", "otp_code", "expires_at"} {
			t.Run(field, func(t *testing.T) {
				t.Parallel()
				router, mail := event.NewRouter(), &codeMail{}
				router.On(event.EmailVerificationRequested, rabbitmq.SendCode(mail))
				m := message(t)
				m.Body = []byte(strings.Replace(string(m.Body), `"`+field+`"`, `"renamed"`, 1))
				err := router.Dispatch(context.Background(), event.Delivery{Message: m})
				require.ErrorContains(t, err, "lacks "+field)
				decision := event.Decide(err, event.Delivery{Message: m}, event.Policy{}, false, data.ExpiresAt)
				require.Equal(t, event.Dead, decision.Action)
				require.Equal(t, event.ReasonInvalid, decision.Outcome)
				require.Zero(t, mail.calls)
			})
		}
	})
}

func TestSendReset(t *testing.T) {
	t.Parallel()
	m, err := event.Encode(event.Event{
		ID: "evt_1", Key: event.EmailPasswordResetRequested, Time: data.ExpiresAt, Data: event.PasswordResetRequested(data),
	})
	require.NoError(t, err)
	mail := &codeMail{}
	require.NoError(t, rabbitmq.SendReset(mail)(t.Context(), event.Delivery{Message: m}))
	require.Equal(t, &codeMail{"evt_1", data, 1, nil}, mail)
}

func TestSendAccountExists(t *testing.T) {
	t.Parallel()
	notice := event.AccountExistsMail{UserID: "user-1", Recipient: "an@example.com", Locale: "vi"}
	m, err := event.Encode(event.Event{ID: "evt_1", Key: event.EmailAccountExistsRequested, Time: data.ExpiresAt, Data: notice})
	require.NoError(t, err)
	sent := notices{}
	require.NoError(t, rabbitmq.SendAccountExists(sent)(t.Context(), event.Delivery{Message: m}))
	require.Equal(t, notices{"evt_1": notice}, sent)
}
