package mailer

import (
	"bytes"
	"errors"
	netmail "net/mail"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// build renders the whole message in memory before anything is dialled: a mail that cannot be built never bothers
// the server, and nothing can fail between DATA and the final dot but the network.
func (m *Mailer) build(mail Mail) ([]byte, error) {
	refused := errors.Join(checkAddress(mail.To), checkHeaderText(mail.Subject), checkMessageID(mail.MessageID))
	if mail.Text == "" {
		refused = errors.Join(refused, errors.New("the text is empty"))
	}
	if refused != nil {
		return nil, &Error{Class: Permanent, Verb: verbMessage, cause: refused}
	}

	// Quoted-printable keeps the message 7-bit clean, so it passes servers without 8BITMIME, and its lines short.
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	from := netmail.Address{Name: m.opts.FromName, Address: m.opts.From}
	if msg.From(from.String()) != nil || msg.To(mail.To) != nil {
		// go-mail's error would quote the address.
		return nil, &Error{Class: Permanent, Verb: verbMessage, cause: errors.New("an address is refused by the message builder")}
	}
	msg.Subject(mail.Subject)
	msg.SetMessageIDWithValue(mail.MessageID)
	msg.SetDateWithValue(time.Now().UTC())
	// RFC 3834 §5: keeps vacation responders from answering a machine.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, mail.Text)
	if mail.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, mail.HTML)
	}

	var content bytes.Buffer
	if _, err := msg.WriteTo(&content); err != nil {
		return nil, &Error{Class: Permanent, Verb: verbMessage, cause: errors.New("the message cannot be encoded")}
	}
	return content.Bytes(), nil
}
