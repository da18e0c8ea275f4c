package rabbitmq_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation/delivery/rabbitmq"
)

type sender struct {
	eventID string
	data    event.InvitationMail
	calls   int
	err     error
}

func (s *sender) Send(_ context.Context, eventID string, d event.InvitationMail) error {
	s.eventID, s.data, s.calls = eventID, d, s.calls+1
	return s.err
}

func TestSendMail(t *testing.T) {
	t.Parallel()
	data := event.InvitationMail{
		UserID:    "user-1",
		Recipient: "an@example.com",
		Token:     "a token",
		Locale:    "vi",
		ExpiresAt: time.Date(2026, 1, 31, 9, 40, 0, 123456000, time.UTC),
	}
	m, err := event.Encode(event.Event{
		ID: "evt_2", Key: event.InvitationRequested, Time: data.ExpiresAt, ProjectID: "proj_1", Data: data,
	})
	require.NoError(t, err)

	t.Run("hands the event over as it was published", func(t *testing.T) {
		t.Parallel()
		router, s := event.NewRouter(), &sender{err: event.Drop(event.DropSuperseded)}
		router.On(event.InvitationRequested, rabbitmq.SendMail(s))
		require.Equal(t, s.err, router.Dispatch(context.Background(), event.Delivery{Message: m}))
		require.Equal(t, &sender{"evt_2", data, 1, s.err}, s)
	})
	for _, field := range []string{"user_id", "recipient", "token", "expires_at"} {
		t.Run("refuses an event without "+field, func(t *testing.T) {
			t.Parallel()
			router, s := event.NewRouter(), &sender{}
			router.On(event.InvitationRequested, rabbitmq.SendMail(s))
			broken := m
			broken.Body = []byte(strings.Replace(string(m.Body), `"`+field+`"`, `"renamed"`, 1))
			err := router.Dispatch(context.Background(), event.Delivery{Message: broken})
			require.ErrorContains(t, err, "lacks "+field)
			require.Zero(t, s.calls)
		})
	}
}
