package legacy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/schema/schematest"
)

// written is a mail as a Mailer is given it.
type written struct {
	eventID   string
	mail      notification.Mail
	expiresAt time.Time
}

// office is a Mailer that keeps what it is given.
type office struct {
	mails []written
	err   error
}

func (o *office) SendMail(_ context.Context, eventID string, m notification.Mail, expiresAt time.Time) error {
	o.mails = append(o.mails, written{eventID, m, expiresAt})
	return o.err
}

func TestForward(t *testing.T) {
	t.Parallel()
	t.Run("hands on what ours committed", func(t *testing.T) {
		t.Parallel()
		o := &office{}
		d := newDesk(t, schematest.SQLite(t))
		d.commit(Dual, verification())
		m := d.copies()[0]
		require.NoError(t, Forward(o)(context.Background(), event.Delivery{Message: m}))
		l, err := write(context.Background(), plain, stampedCopy(t, verification()))
		require.NoError(t, err)
		require.Equal(t, []written{{eventID, notification.Mail{
			To: recipient, Content: notification.Content{Subject: l.mail.Subject, HTML: l.mail.Body},
		}, start.Add(10 * time.Minute)}}, o.mails)
	})
	t.Run("hands on what the previous release published", func(t *testing.T) {
		t.Parallel()
		const body = `{"Subject":"Mã","Recipient":"ann@example.com","Body":"\u003cp\u003e1\u003c/p\u003e","ReplyTo":"r@example.com",` +
			`"CcAddresses":["c@example.com"],"Attachments":[]}`
		for header, want := range map[string]time.Time{
			"": {}, "tomorrow": {}, "2026-01-31T16:40:00+07:00": time.Date(2026, 1, 31, 9, 40, 0, 0, time.UTC),
		} {
			o := &office{err: errors.New("450")}
			m := event.Message{ID: "evt_from_the_reader", Body: []byte(body)}
			if header != "" {
				m.Headers = map[string]string{"x-expires-at": header}
			}
			require.ErrorIs(t, Forward(o)(context.Background(), event.Delivery{Message: m}), o.err, "its word is the handler's")
			require.Equal(t, []written{{"evt_from_the_reader", notification.Mail{
				To: recipient, Cc: []string{"c@example.com"}, ReplyTo: "r@example.com",
				Content: notification.Content{Subject: "Mã", HTML: "<p>1</p>"},
			}, want}}, o.mails)
		}
	})
	t.Run("a mail that was put into our queue without an id gets one", func(t *testing.T) {
		t.Parallel()
		o := &office{}
		require.NoError(t, Forward(o)(context.Background(), event.Delivery{Message: unnamedMail()}))
		require.NotEmpty(t, o.mails[0].eventID)
	})
	t.Run("dead-letters what is no mail", func(t *testing.T) {
		t.Parallel()
		for body, reason := range map[string]string{
			code:                                  event.ReasonUnreadable,
			`{"Subject":"` + code:                 event.ReasonUnreadable,
			`{"Recipient":["` + code + `"]}`:      event.ReasonUnreadable,
			`{"Subject":"` + code + `"}`:          event.ReasonInvalid,
			`{"Recipient":"","Body":"493817"}`:    event.ReasonInvalid,
			`null`:                                event.ReasonInvalid,
			`{"Recipient":"a","Attachments":[1]}`: event.ReasonInvalid,
		} {
			o := &office{}
			m := event.Message{Body: []byte(body)}
			err := Forward(o)(context.Background(), event.Delivery{Message: m})
			requireDecision(t, event.Dead, reason, err, m)
			require.NotContains(t, err.Error(), code)
			require.Empty(t, o.mails)
		}
	})
}
