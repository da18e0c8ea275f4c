package mailer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"strings"
)

// Class says what may be done with the mail after a failure.
type Class string

const (
	// Temporary means that the mail was certainly not accepted and may be sent again.
	Temporary Class = "temporary"
	// Permanent means that this mail will never be accepted: its recipient or its message is refused for good.
	Permanent Class = "permanent"
	// Ambiguous means that the final dot was written and no readable reply came back. The mail may have been accepted
	// (RFC 1047).
	Ambiguous Class = "ambiguous"
)

// Party is whom a failure is about.
type Party string

const (
	// Us means that no mail of ours would fare better: the server cannot be reached, or refuses the connection, the
	// credentials or the sender.
	Us Party = "us"
	// Recipient means that this address takes no mail.
	Recipient Party = "recipient"
	// Message means that the mail itself is unusable or too large.
	Message Party = "message"
	// Unclear is everything else. Another try of this mail may succeed; other mails are not concerned.
	Unclear Party = ""
)

// The values of Error.Verb.
const (
	verbMessage   = "MESSAGE" // the mail itself is unusable, nothing was sent
	verbConnect   = "CONNECT"
	verbTLS       = "TLS"
	verbGreeting  = "GREETING"
	verbEHLO      = "EHLO"
	verbSTARTTLS  = "STARTTLS" // includes the handshake and the second EHLO
	verbAUTH      = "AUTH"
	verbRSET      = "RSET" // between two mails on one connection
	verbMAIL      = "MAIL"
	verbRCPT      = "RCPT"
	verbDATA      = "DATA"
	verbContent   = "CONTENT"     // between 354 and the final dot
	verbEndOfData = "END_OF_DATA" // the reply to the final dot
)

// Error is every failure of Send but one of its callback. It is safe to log.
type Error struct {
	Class Class
	// Of is Recipient or Message exactly when Class is Permanent.
	Of Party
	// Code is the server's reply code, 0 when there was none.
	Code int
	// Enhanced is the reply's enhanced status code (RFC 3463, as in "5.1.1"), or empty.
	Enhanced string
	// Verb is where it happened: MESSAGE, CONNECT, TLS, GREETING, EHLO, STARTTLS, AUTH, RSET, MAIL, RCPT, DATA, CONTENT or
	// END_OF_DATA. Few and fixed, so fit for a metric label.
	Verb string

	cause error
}

// Error returns class, verb, codes and, where it is free of personal data, the cause.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "mailer: %s failure at %s", e.Class, e.Verb)
	if e.Code != 0 {
		text.WriteString(": " + strings.TrimSpace(fmt.Sprintf("%d %s", e.Code, e.Enhanced)))
	}
	if e.cause != nil {
		text.WriteString(": " + e.cause.Error())
	}
	return text.String()
}

// Unwrap returns the context's, the network's or the TLS library's error; nil when the server replied with a code.
func (e *Error) Unwrap() error { return e.cause }

// newError classifies what a verb ended with. The server's reply, if there is one, outranks a context that ended at the
// same moment.
func newError(ctx context.Context, verb string, err error) *Error {
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		failed := &Error{Class: Temporary, Code: reply.Code, Enhanced: enhancedCode(reply.Msg), Verb: verb}
		switch failed.Of = refused(verb, failed.Code, failed.Enhanced); {
		case failed.Of == Recipient || failed.Of == Message:
			failed.Class = Permanent
		case verb == verbEndOfData && reply.Code/100 != 4 && reply.Code/100 != 5:
			failed.Class = Ambiguous // neither a yes nor a no
		}
		return failed
	}
	failed := &Error{Class: Temporary, Verb: verb, cause: ctx.Err()}
	if verb == verbEndOfData {
		failed.Class = Ambiguous
	}
	if failed.cause == nil {
		failed.cause = safeCause(err)
	}
	if beforeRecipient(verb) && !errors.Is(failed.cause, context.Canceled) {
		failed.Of = Us // a caller who gives up says nothing about the server
	}
	return failed
}

// beforeRecipient reports whether verb is one at which the server has not heard of a mail's recipient.
func beforeRecipient(verb string) bool {
	switch verb {
	case verbRCPT, verbDATA, verbContent, verbEndOfData:
		return false
	}
	return true
}

// refused returns whom a reply refuses, by verb, code (RFC 5321 §4.2) and enhanced code (RFC 3463). What is not clearly
// the recipient's or the message's is never for good: a wrong name in EHLO or a blocked address is refused at RCPT, too.
func refused(verb string, code int, enhanced string) Party {
	permanent := code/100 == 5
	switch verb {
	case verbRCPT:
		if permanent && refusesRecipient(code, enhanced) {
			return Recipient
		}
		return Unclear
	case verbDATA, verbContent, verbEndOfData:
		if code == 552 || permanent && strings.HasPrefix(enhanced, "5.6.") {
			return Message
		}
		return Unclear
	case verbMAIL:
		if code == 552 || permanent && (enhanced == "5.3.4" || strings.HasPrefix(enhanced, "5.6.")) {
			return Message
		}
	}
	return Us
}

func refusesRecipient(code int, enhanced string) bool {
	switch enhanced {
	case "":
		return code == 550 || code == 551 || code == 553
	case "5.1.7", "5.1.8": // the sender's address
		return false
	default:
		return strings.HasPrefix(enhanced, "5.1.") || strings.HasPrefix(enhanced, "5.2.")
	}
}

// errUnreadable stands for every text that came from the server.
var errUnreadable = errors.New("the server's reply is not SMTP")

// safeCause lets through only errors that this side made: addresses of servers, certificates and timeouts are in
// them, but nothing that a server said.
func safeCause(err error) error {
	if network, ok := errors.AsType[net.Error](err); ok {
		return network
	}
	if own, ok := errors.AsType[localError](err); ok {
		return own
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	if strings.HasPrefix(err.Error(), "tls: ") { // crypto/tls has no common error type; a server's text is never at the start
		return err
	}
	return errUnreadable
}

// localError is a text of this package: what the operator has to change.
type localError string

func (e localError) Error() string { return string(e) }

var enhanced = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

func enhancedCode(reply string) string { return enhanced.FindString(reply) }
