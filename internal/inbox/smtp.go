package inbox

import (
	"io"
	"log"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/rs/zerolog"
)

const (
	// maxMailBytes is far above any mail of the service (a few KiB). Together with the capacity it bounds the memory.
	maxMailBytes = 1 << 20
	// maxRecipients is the least a server must take (RFC 5321 §4.5.3.1.8).
	maxRecipients = 100
	// commandTimeout is the least a server must wait (RFC 5321 §4.5.3.2.7).
	commandTimeout = 5 * time.Minute
)

func (i *Inbox) smtpServer() *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &session{mails: i.mails, log: i.opts.Log}, nil
	}))
	s.Domain = "inbox"
	s.MaxMessageBytes = maxMailBytes
	s.MaxRecipients = maxRecipients
	s.ReadTimeout = commandTimeout
	s.WriteTimeout = commandTimeout
	s.AllowInsecureAuth = true
	s.EnableSMTPUTF8 = true
	s.ErrorLog = log.New(i.opts.Log, "", 0)
	return s
}

// session collects the envelope of one mail at a time.
type session struct {
	mails *store
	log   zerolog.Logger
	from  string
	to    []string
}

var _ smtp.AuthSession = (*session)(nil)

// AuthMechanisms offers PLAIN, for programs that are configured with credentials.
func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth accepts any credentials and discards them.
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error { return nil }), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // too large, or cut before the final dot: nothing is kept
	}
	mails := parse(s.from, raw, time.Now()).forRecipients(s.to)
	s.mails.add(mails...)
	for _, m := range mails {
		s.log.Debug().Str("mail_id", m.ID).Int("bytes", len(raw)).Msg("mail received")
	}
	return nil
}

func (s *session) Reset() { s.from, s.to = "", nil }

func (s *session) Logout() error { return nil }
