package fanout

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// The previous release's topology (docs/compatibility.md): both durable and without a single argument, the queue bound
// with an empty routing key. Anything else would be refused to its consumers with 406 PRECONDITION_FAILED.
const (
	Exchange = "smtp_send_email_exc"
	Queue    = "smtp_send_email"
)

// Headers of the migration.
const (
	// HeaderOwner on a topic copy says who sends the mail. Absent: this copy does.
	HeaderOwner = "x-mail-owner"
	OwnerLegacy = "legacy" // the fanout copy of the same event does

	HeaderExpiresAt = "x-expires-at" // on a fanout copy, RFC 3339: from then on the mail is of no use
)

// Mail is the body of a fanout copy, keys and order exactly as the previous release wrote them: its consumer knows no
// other spelling.
type Mail struct {
	Subject     string
	Recipient   string
	Body        string // HTML
	ReplyTo     string
	CcAddresses []string          // null when there are none
	Attachments []json.RawMessage // [] when there are none
}

// contentType is what the previous release calls its JSON.
const contentType = "text/plain"

// encode answers m as a message for Exchange.
func (m Mail) encode(id string, at, expiresAt time.Time) (event.Message, error) {
	if m.Attachments == nil {
		m.Attachments = []json.RawMessage{}
	}
	body, err := json.Marshal(m) // which escapes HTML, as the previous release's did
	if err != nil {
		return event.Message{}, fmt.Errorf("fanout: encoding a mail: %w", err)
	}
	if len(body) > event.MaxBody {
		return event.Message{}, fmt.Errorf("%w (a fanout copy has %d bytes)", event.ErrTooLarge, len(body))
	}
	return event.Message{
		ID: id, Exchange: Exchange, ContentType: contentType, Timestamp: at.UTC().Truncate(time.Second),
		Mandatory: true, Single: true, Body: body,
		Headers: map[string]string{HeaderExpiresAt: expiresAt.UTC().Format(time.RFC3339Nano)},
	}, nil
}

// decode reads a fanout copy. What it cannot do without comes back as event.Permanent; no error quotes the body.
func decode(body []byte) (Mail, error) {
	var m Mail
	switch err := json.Unmarshal(body, &m); {
	case err != nil:
		return Mail{}, event.Permanent(event.ReasonUnreadable, errors.New("fanout: the body is not the previous release's mail"))
	case m.Recipient == "":
		return Mail{}, event.Permanent(event.ReasonInvalid, errors.New("fanout: the mail has no Recipient"))
	case len(m.Attachments) > 0:
		// The previous release never sent one, and wrote down nowhere what one looks like.
		return Mail{}, event.Permanent(event.ReasonInvalid, errors.New("fanout: the mail has attachments, which cannot be sent"))
	}
	return m, nil
}
