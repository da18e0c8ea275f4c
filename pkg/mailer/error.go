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
	// Temporary means that the mail was certainly not accepted and may be sent again. 4xx replies, anything that keeps the
	// conversation from reaching MAIL (unreachable host, TLS, a 5xx greeting), and refused or missing credentials
	// (530, 534, 535, 538; RFC 4954 §6), because an operator can repair all of these without touching the mail.
	Temporary Class = "temporary"
	// Permanent means that this mail will never be accepted. 5xx replies to MAIL, RCPT, DATA or the final dot, and what
	// is refused before connecting.
	Permanent Class = "permanent"
	// Ambiguous means that the final dot went out and no readable reply came back. The mail may have been accepted (RFC
	// 1047).
	Ambiguous Class = "ambiguous"
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
	verbMAIL      = "MAIL"
	verbRCPT      = "RCPT"
	verbDATA      = "DATA"
	verbContent   = "CONTENT"     // between 354 and the final dot
	verbEndOfData = "END_OF_DATA" // the reply to the final dot
)

// Error is every failure of Send but one of its callback. It is safe to log.
type Error struct {
	Class Class
	// Code is the server's reply code, 0 when there was none.
	Code int
	// Enhanced is the reply's enhanced status code (RFC 3463, as in "5.1.1"), or empty.
	Enhanced string
	// Verb is where it happened: MESSAGE, CONNECT, TLS, GREETING, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, CONTENT or
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
		return &Error{Class: classOf(verb, reply.Code), Code: reply.Code, Enhanced: enhancedCode(reply.Msg), Verb: verb}
	}
	failed := &Error{Class: Temporary, Verb: verb, cause: ctx.Err()}
	if verb == verbEndOfData {
		failed.Class = Ambiguous
	}
	if failed.cause == nil {
		failed.cause = safeCause(err)
	}
	return failed
}

func classOf(verb string, code int) Class {
	switch verb {
	case verbMAIL, verbRCPT, verbDATA, verbEndOfData:
	default:
		return Temporary
	}
	switch code {
	case 530, 534, 535, 538:
		return Temporary
	}
	switch {
	case code/100 == 5:
		return Permanent
	case code/100 != 4 && verb == verbEndOfData:
		// Neither a yes nor a no: such a reply decides nothing.
		return Ambiguous
	default:
		return Temporary
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
