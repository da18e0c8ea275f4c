package legacy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
)

// A mail of the previous release is sent as it was written, or buried without a word of it.
func FuzzMail(f *testing.F) {
	for _, seed := range []string{
		`{"Subject":"Mã","Recipient":"ann@example.com","Body":"<b>493817</b>","ReplyTo":"","CcAddresses":null,"Attachments":[]}`,
		`{"Recipient":"ann@example.com","Attachments":[{}]}`, `{"recipient":"ann@example.com"}`, `{"Recipient":7}`, "null", "", "[]", "{\"Recipient\":\"\xff\"}",
		`{"Recipient":"a","CcAddresses":["b",null]}`, `{"Recipient":"a","Attachments":null}`, `{"Recipient":"a"}{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		mail, err := decode(body)
		if err != nil {
			require.Contains(t, []string{event.ReasonUnreadable, event.ReasonInvalid},
				event.Decide(err, event.Delivery{}, event.Policy{}, false, start).Outcome)
			require.Contains(t, err.Error(), "legacy: the ")
			require.Equal(t, Mail{}, mail)
			return
		}
		require.NotEmpty(t, mail.Recipient)
		require.Empty(t, mail.Attachments)
		copied, err := letter{eventID: eventID, mail: mail, expiresAt: start}.encode(start)
		if err != nil {
			require.ErrorIs(t, err, event.ErrTooLarge)
			return
		}
		again, err := decode(copied.Body)
		require.NoError(t, err)
		mail.Attachments, again.Attachments = nil, nil
		require.Equal(t, mail, again)
		require.NoError(t, copied.Check(event.MinFrame))
	})
}
