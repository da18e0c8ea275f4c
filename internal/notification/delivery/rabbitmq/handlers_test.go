package rabbitmq_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification/delivery/rabbitmq"
	"github.com/smap-platform/identity/internal/notification/usecase"
)

var _ rabbitmq.Sender = (*usecase.Sender)(nil)

type sender struct {
	eventID string
	data    event.Payload
	calls   int
	err     error
}

func (s *sender) SendProjectCompleted(_ context.Context, eventID string, d event.ProjectCompletedMail) error {
	s.eventID, s.data, s.calls = eventID, d, s.calls+1
	return s.err
}

func (s *sender) SendTrialEnding(_ context.Context, eventID string, d event.TrialEndingMail) error {
	s.eventID, s.data, s.calls = eventID, d, s.calls+1
	return s.err
}

func (s *sender) SendSecurityNotice(_ context.Context, eventID string, d event.SecurityNotice) error {
	s.eventID, s.data, s.calls = eventID, d, s.calls+1
	return s.err
}

var (
	now  = time.Date(2026, 1, 31, 9, 40, 0, 123456000, time.UTC)
	data = event.ProjectCompletedMail{
		Recipient: "an@example.com", Locale: "vi", ProjectID: "proj_1", Total: 100, Done: 100, Errors: 2,
	}
)

func message(t *testing.T) event.Message {
	t.Helper()
	m, err := event.Encode(event.Event{
		ID: "evt_1", Key: event.EmailProjectCompletedRequested, Time: now, ProjectID: data.ProjectID, Data: data,
	})
	require.NoError(t, err)
	return m
}

func TestSendProjectCompleted(t *testing.T) {
	t.Parallel()
	t.Run("passes the event to the sender", func(t *testing.T) {
		t.Parallel()
		for name, result := range map[string]error{"sent": nil, "sent before": event.Drop(event.DropDuplicate)} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				router, mail := event.NewRouter(), &sender{err: result}
				router.On(event.EmailProjectCompletedRequested, rabbitmq.SendProjectCompleted(mail))
				require.Equal(t, result, router.Dispatch(context.Background(), event.Delivery{Message: message(t)}))
				require.Equal(t, &sender{"evt_1", data, 1, result}, mail)
			})
		}
	})

	t.Run("dead-letters an event that lacks a field", func(t *testing.T) {
		t.Parallel()
		router, mail := event.NewRouter(), &sender{}
		router.On(event.EmailProjectCompletedRequested, rabbitmq.SendProjectCompleted(mail))
		m := message(t)
		m.Body = []byte(strings.Replace(string(m.Body), `"recipient"`, `"renamed"`, 1))
		err := router.Dispatch(context.Background(), event.Delivery{Message: m})
		require.ErrorContains(t, err, "lacks recipient")
		decision := event.Decide(err, event.Delivery{Message: m}, event.Policy{}, false, now)
		require.Equal(t, event.Dead, decision.Action)
		require.Equal(t, event.ReasonInvalid, decision.Outcome)
		require.Zero(t, mail.calls)
	})
}

func TestSendTrialEnding(t *testing.T) {
	t.Parallel()
	t.Run("passes the event to the sender", func(t *testing.T) {
		t.Parallel()
		reminder := event.TrialEndingMail{
			UserID: "user-1", Recipient: "an@example.com", Locale: "vi", PlanCode: "free", TrialEnd: now, DaysLeft: 3,
		}
		m, err := event.Encode(event.Event{ID: "evt_1", Key: event.EmailTrialEndingRequested, Time: now, Data: reminder})
		require.NoError(t, err)
		for _, result := range []error{nil, event.Drop(event.DropExpired)} {
			mail := &sender{err: result}
			require.Equal(t, result, rabbitmq.SendTrialEnding(mail)(t.Context(), event.Delivery{Message: m}))
			require.Equal(t, &sender{"evt_1", reminder, 1, result}, mail)
		}
	})
}

func TestSendSecurityNotice(t *testing.T) {
	t.Parallel()
	notice := event.SecurityNotice{
		UserID: "user-1", Recipient: "an@example.com", Locale: "vi", Kind: event.NoticePasswordReset, OccurredAt: now,
	}
	m, err := event.Encode(event.Event{ID: "evt_1", Key: event.EmailSecurityNoticeRequested, Time: now, Data: notice})
	require.NoError(t, err)
	mail := &sender{}
	require.NoError(t, rabbitmq.SendSecurityNotice(mail)(t.Context(), event.Delivery{Message: m}))
	require.Equal(t, &sender{"evt_1", notice, 1, nil}, mail)
}
