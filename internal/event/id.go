package event

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxID is the longest id, in bytes: an AMQP property holds no more.
const MaxID = 255

// Errors of CheckID and CheckPartID.
var (
	ErrIDTooLong  = errors.New("has more than 255 bytes")
	ErrIDNotText  = errors.New("is not valid UTF-8 or holds control characters")
	ErrIDHasColon = errors.New("has a colon")
)

// CheckID returns an error, without the id in it, for an id that not every store and property can hold as it is. A
// replacement character is where bytes or surrogates that are no text have been: two ids that differ there became one.
func CheckID(id string) error {
	if len(id) > MaxID {
		return ErrIDTooLong
	}
	for _, r := range id { // RuneError also where the bytes are no UTF-8
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ErrIDNotText
		}
	}
	return nil
}

// CheckPartID is [CheckID] for an id of a project or a user: a colon separates the parts of keys and channels.
func CheckPartID(id string) error {
	if strings.Contains(id, ":") {
		return ErrIDHasColon
	}
	return CheckID(id)
}

// identified is implemented by payloads whose ids reach a store or become a property. They are checked on arrival only:
// what this service stored under yesterday's rules can still leave.
type identified interface{ checkIDs() error }

// checkIDs returns an error that names the first of the ids in data that cannot be used.
func checkIDs(data any) error {
	if d, ok := data.(identified); ok {
		return d.checkIDs()
	}
	return nil
}

func named(name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s in data %w", name, err)
	}
	return nil
}

func checkUserID(id string) error { return named("user_id", CheckPartID(id)) }

func checkProjectID(id string) error { return named("project_id", CheckPartID(id)) }

func checkStateIDs(subscriptionID, userID string) error {
	return cmp.Or(named("subscription_id", CheckID(subscriptionID)), checkUserID(userID))
}
