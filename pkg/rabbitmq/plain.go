package rabbitmq

import (
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// plainError is an error in words of ours.
type plainError struct {
	text  string
	cause error
}

func (e plainError) Error() string { return e.text }
func (e plainError) Unwrap() error { return e.cause }

// Plain returns err with everything a server said replaced by what its code means. A server quotes what it was sent,
// and that can be a credential: a URL that was taken for the name of a virtual host, for one. The codes stay for
// errors.As.
func Plain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, said := range said(err) {
		text = strings.ReplaceAll(text, said.Error(), meaning(said.Code))
	}
	return plainError{text, err}
}

// said returns what servers said in err and in all it wraps.
func said(err error) (found []*amqp.Error) {
	if e, ok := err.(*amqp.Error); ok && e.Server { //nolint:errorlint // every one in the tree, not the first
		return []*amqp.Error{e}
	}
	switch err := err.(type) { //nolint:errorlint // the same
	case plainError:
		return nil
	case interface{ Unwrap() error }:
		return said(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range err.Unwrap() {
			found = append(found, said(e)...)
		}
	}
	return found
}

// meaning returns what a code means, for a person.
func meaning(code int) string {
	words, known := map[int]string{
		amqp.ContentTooLarge:    "the message is too large",
		amqp.ConnectionForced:   "an operator or a shutdown ended the connection",
		amqp.InvalidPath:        "there is no such virtual host",
		amqp.AccessRefused:      "the user, its password or one of its permissions is refused",
		amqp.NotFound:           "a queue or exchange does not exist",
		amqp.ResourceLocked:     "another connection uses the queue exclusively",
		amqp.PreconditionFailed: "a queue or exchange exists with other arguments, or an acknowledgement came too late",
		amqp.NotAllowed:         "the user may not use the virtual host, or it does not exist",
		amqp.ResourceError:      "a limit or a shortage at the server",
		amqp.InternalError:      "an error inside the server",
	}[code]
	if !known {
		words = "the server refuses it"
	}
	return fmt.Sprintf("%s (code %d)", words, code)
}
