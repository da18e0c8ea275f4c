package event

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxID is the longest id, in bytes: an AMQP property holds no more.
const MaxID = 255

// Errors of CheckID.
var (
	ErrIDTooLong = errors.New("has more than 255 bytes")
	ErrIDNotText = errors.New("is not valid UTF-8 or holds control characters")
)

// CheckID returns an error, without the id in it, for an id that not every store and property can hold as it is. A
// replacement character is where bytes or surrogates that are no text have been: two ids that differ there became one.
func CheckID(id string) error {
	switch {
	case len(id) > MaxID:
		return ErrIDTooLong
	case !utf8.ValidString(id), strings.ContainsFunc(id, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }):
		return ErrIDNotText
	}
	return nil
}

// identified is implemented by payloads whose ids reach a store or become a property. They are checked on arrival only:
// what this service stored under yesterday's rules can still leave.
type identified interface{ ids() []string }

func checkIDs(data any) error {
	if d, ok := data.(identified); ok {
		for _, id := range d.ids() {
			if err := CheckID(id); err != nil {
				return fmt.Errorf("an id in data %w", err)
			}
		}
	}
	return nil
}
