package legacy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
)

// office is a Forwarder that keeps what it is given.
type office struct {
	copies []Copy
	err    error
}

func (o *office) Forward(_ context.Context, c Copy) error {
	o.copies = append(o.copies, c)
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
		require.Len(t, o.copies, 1)
		require.Equal(t, eventID, o.copies[0].EventID)
		require.Equal(t, start.Add(10*time.Minute), o.copies[0].ExpiresAt)
		require.Equal(t, l.mail.Body, o.copies[0].Body)
		require.Equal(t, l.mail.Subject, o.copies[0].Subject)
		require.Equal(t, recipient, o.copies[0].Recipient)
	})
	t.Run("hands on what the previous release published", func(t *testing.T) {
		t.Parallel()
		const body = `{"Subject":"Mã","Recipient":"ann@example.com","Body":"\u003cp\u003e1\u003c/p\u003e","ReplyTo":"r@example.com",` +
			`"CcAddresses":["c@example.com"],"Attachments":[]}`
		for header, want := range map[string]time.Time{
			"": {}, "tomorrow": {}, "2026-01-31T16:40:00+07:00": time.Date(2026, 1, 31, 9, 40, 0, 0, time.UTC),
		} {
			o := &office{err: errors.New("450")}
			m := event.Message{Body: []byte(body)}
			if header != "" {
				m.Headers = map[string]string{"x-expires-at": header}
			}
			require.ErrorIs(t, Forward(o)(context.Background(), event.Delivery{Message: m}), o.err, "its word is the handler's")
			require.Len(t, o.copies, 1)
			got := o.copies[0]
			require.Empty(t, got.Attachments)
			got.Attachments = nil
			require.Equal(t, Copy{ExpiresAt: want, Mail: Mail{
				Subject: "Mã", Recipient: recipient, Body: "<p>1</p>", ReplyTo: "r@example.com", CcAddresses: []string{"c@example.com"},
			}}, got)
		}
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
			require.Empty(t, o.copies)
		}
	})
}
