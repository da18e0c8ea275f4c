package mailer

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// build renders the whole message in memory before anything is dialled: a mail that cannot be built never bothers
// the server, and nothing can fail between DATA and the final dot but the network.
func (m *Mailer) build(mail Mail) ([]byte, error) {
	if err := mail.check(); err != nil {
		return nil, &Error{Class: Permanent, Of: Message, Verb: verbMessage, cause: err}
	}
	if mail.MessageID == "" {
		_, domain, _ := strings.Cut(m.opts.From, "@")
		mail.MessageID = rand.Text() + "@" + domain // go-mail's own would reveal the name of this machine
	}

	// Quoted-printable keeps the message 7-bit clean, so it passes servers without 8BITMIME, and its lines short.
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	address(msg, &netmail.Address{Name: m.opts.FromName, Address: m.opts.From}, mail)
	msg.Subject(mail.Subject)
	msg.SetMessageIDWithValue(mail.MessageID)
	msg.SetDateWithValue(time.Now().UTC())
	// RFC 3834 §5: keeps vacation responders from replying to a machine.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	// A single alternative becomes the whole body, without a multipart around it.
	if mail.Text != "" {
		msg.AddAlternativeString(gomail.TypeTextPlain, mail.Text)
	}
	if mail.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, mail.HTML)
	}

	var content bytes.Buffer
	if _, err := msg.WriteTo(&content); err != nil {
		return nil, &Error{Class: Permanent, Of: Message, Verb: verbMessage, cause: errors.New("the message cannot be encoded")}
	}
	return content.Bytes(), nil
}

// check returns what keeps the mail from being built, with the first bad Cc address alone.
func (mail Mail) check() error {
	found := []error{checkAddress(mail.To), checkHeaderText(mail.Subject)}
	for _, cc := range mail.Cc {
		if err := checkAddress(cc); err != nil {
			found = append(found, fmt.Errorf("the Cc: %w", err))
			break
		}
	}
	if mail.ReplyTo != "" {
		if err := checkAddress(mail.ReplyTo); err != nil {
			found = append(found, fmt.Errorf("the Reply-To: %w", err))
		}
	}
	if mail.MessageID != "" {
		found = append(found, checkMessageID(mail.MessageID))
	}
	if mail.Text == "" && mail.HTML == "" {
		found = append(found, errors.New("the mail has neither text nor HTML"))
	}
	return errors.Join(found...)
}

// address sets the address headers; those without an address are not written. The addresses have been checked, and are
// not parsed again: go-mail refuses some that exist. It quotes what the syntax of a header wants quoted.
func address(msg *gomail.Msg, from *netmail.Address, mail Mail) {
	msg.FromMailAddress(from)
	msg.ToMailAddress(&netmail.Address{Address: mail.To})
	cc := make([]*netmail.Address, len(mail.Cc))
	for i, address := range mail.Cc {
		cc[i] = &netmail.Address{Address: address}
	}
	msg.CcMailAddress(cc...)
	if mail.ReplyTo != "" {
		msg.ReplyToMailAddress(&netmail.Address{Address: mail.ReplyTo})
	}
}
