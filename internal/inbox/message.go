package inbox

import (
	"bytes"
	"io"
	"net/textproto"
	"strings"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // registers every charset but UTF-8
	"github.com/emersion/go-message/mail"
	"github.com/google/uuid"
)

// Message is one mail as one recipient received it: a mail to two addresses is two messages with the same MessageID.
// Text fields are decoded to UTF-8. Callers share messages: do not change Headers.
type Message struct {
	ID         string    `json:"id"`   // generated, unique and opaque
	From       string    `json:"from"` // bare address of the From header, or of the envelope
	To         string    `json:"to"`   // bare address of the recipient in the envelope
	Subject    string    `json:"subject"`
	Text       string    `json:"text"`        // first text/plain part that is no attachment; "" if there is none
	HTML       string    `json:"html"`        // first text/html part that is no attachment; "" if there is none
	ReceivedAt time.Time `json:"received_at"` // UTC, microseconds

	MessageID string               `json:"-"` // without the angle brackets; "" if there is none
	Headers   textproto.MIMEHeader `json:"-"` // decoded, all of them; never nil
}

// parse returns a mail as it came over the wire. It never fails: a mail that it cannot parse becomes text, because a
// broken mail is what a developer wants to see. The caller sets ID and To.
func parse(envelopeFrom string, raw []byte, now time.Time) Message {
	m := Message{From: envelopeFrom, Headers: textproto.MIMEHeader{}, ReceivedAt: now.UTC().Truncate(time.Microsecond)}
	entity, err := message.Read(bytes.NewReader(raw))
	if entity == nil || err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
		m.Text = validText(raw)
		return m
	}
	header := mail.Header{Header: entity.Header}
	m.Headers = decodeHeaders(&header)
	m.Subject = m.Headers.Get("Subject")
	m.MessageID = strings.Trim(m.Headers.Get("Message-Id"), "<> ")
	if from, err := header.AddressList("From"); err == nil && len(from) > 0 {
		m.From = from[0].Address
	}
	m.Text, m.HTML = readBodies(mail.NewReader(entity))
	if m.Text == "" && m.HTML == "" {
		_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		m.Text = validText(body)
	}
	return m
}

// forRecipients returns a copy of the mail for each address of the envelope.
func (m Message) forRecipients(to []string) []Message {
	mails := make([]Message, len(to))
	for i, address := range to {
		mails[i] = m
		mails[i].ID = uuid.NewString()
		mails[i].To = address
	}
	return mails
}

func decodeHeaders(h *mail.Header) textproto.MIMEHeader {
	decoded := textproto.MIMEHeader{}
	for fields := h.Fields(); fields.Next(); {
		value, err := fields.Text()
		if err != nil {
			value = fields.Value()
		}
		decoded.Add(fields.Key(), validText([]byte(value)))
	}
	return decoded
}

// readBodies returns the first text and the first HTML part. A broken part ends the search.
func readBodies(r *mail.Reader) (text, html string) {
	for {
		part, err := r.NextPart()
		if part == nil || err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
			return text, html
		}
		inline, ok := part.Header.(*mail.InlineHeader)
		if !ok {
			continue
		}
		into := &text
		switch kind, _, _ := inline.ContentType(); kind {
		case "text/plain":
		case "text/html":
			into = &html
		default:
			continue
		}
		if *into != "" {
			continue
		}
		body, _ := io.ReadAll(part.Body) // half a part is better than none
		*into = validText(body)
	}
}

// validText returns b as UTF-8 with the line ends that a browser and a test expect.
func validText(b []byte) string {
	return strings.ToValidUTF8(strings.ReplaceAll(string(b), "\r\n", "\n"), "\uFFFD")
}
