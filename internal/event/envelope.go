package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/pkg/verbatim"
)

// Service is the producer's name in every envelope, and the AMQP app_id.
const Service = "identity"

// MaxBody is the largest serialized event, in bytes (docs/events.md).
const MaxBody = 256 << 10

// ErrTooLarge is returned, before anything is stored, when the body of an event exceeds MaxBody.
var ErrTooLarge = errors.New("event: body exceeds 256 KiB; put the data where the consumer can fetch it and send its id")

// Payload is the typed content of an event. Validate names the first thing a reader cannot do without.
type Payload interface{ Validate() error }

// Event is what a use case hands to its Publisher.
type Event struct {
	ID        string // NewID(), or derived from what the event is about where a repeat must be recognisable
	Key       RoutingKey
	Time      time.Time // when the fact happened, by the database's clock
	ProjectID string    // only where the event belongs to a project
	Data      Payload

	// Headers are put on the message beside those of the envelope; nil: none.
	Headers map[string]string
	// NotBefore is when it may leave at the earliest; zero: at once. It paces a batch.
	NotBefore time.Time
	// Batch names the batch it belongs to, whose events that have not left can be withdrawn together; empty: none. Events
	// of a batch leave behind all others.
	Batch string
}

// NewID returns a new event id: evt_<uuidv7>. Readers take it as opaque.
func NewID() string { return "evt_" + uuid.Must(uuid.NewV7()).String() }

// Publisher is all a use case knows of messaging. Publish joins the transaction of ctx: the events leave if and only if
// that transaction commits. Many at once cost less than one after the other. It returns an error, and stores nothing,
// when there is no transaction, when Data is not valid, or when a body is too large ([ErrTooLarge]).
type Publisher interface {
	Publish(ctx context.Context, events ...Event) error
}

// timestampLayout is ISO 8601 with milliseconds (docs/events.md).
const timestampLayout = "2006-01-02T15:04:05.000Z07:00"

type wireEnvelope struct {
	EventID   string      `json:"event_id"`
	Timestamp string      `json:"timestamp"`
	Payload   wirePayload `json:"payload"`
}

type wirePayload struct {
	ProjectID string  `json:"project_id,omitempty"`
	Service   string  `json:"service"`
	Action    string  `json:"action"`
	Data      Payload `json:"data"`
}

// Encode returns the event as it goes over the wire, addressed to [Exchange].
func Encode(e Event) (Message, error) {
	if e.ID == "" || e.Key == "" || e.Data == nil {
		return Message{}, errors.New("event: an event needs an id, a routing key and data")
	}
	if err := e.Data.Validate(); err != nil {
		return Message{}, fmt.Errorf("event: %s: %w", e.Key, err)
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // readers are not browsers, and addresses stay readable
	err := enc.Encode(wireEnvelope{
		EventID:   e.ID,
		Timestamp: e.Time.UTC().Format(timestampLayout),
		Payload:   wirePayload{ProjectID: e.ProjectID, Service: Service, Action: e.Key.Action(), Data: e.Data},
	})
	if err != nil {
		return Message{}, fmt.Errorf("event: encoding %s: %w", e.Key, err)
	}
	body.Truncate(body.Len() - 1) // the encoder's newline
	if body.Len() > MaxBody {
		return Message{}, fmt.Errorf("%w (%s has %d bytes)", ErrTooLarge, e.Key, body.Len())
	}
	headers := map[string]string{}
	maps.Copy(headers, e.Headers)
	return Message{
		ID: e.ID, Exchange: Exchange, RoutingKey: string(e.Key), ContentType: "application/json",
		Timestamp: e.Time.UTC().Truncate(time.Second), Mandatory: e.Key.Mandatory(), // AMQP 0-9-1 timestamps are whole seconds
		Headers: headers, Body: body.Bytes(),
	}, nil
}

// Received is an event as a handler gets it, beside its typed data.
type Received struct {
	ID        string
	Key       RoutingKey
	Time      time.Time // zero when the producer wrote none that can be read
	ProjectID string
}

// Decode reads an envelope with data of type T. It does so in one pass: reading body, payload and data one after the other
// would scan the same bytes three times, which is most of what a delivery costs.
//
// It tolerates unknown fields, foreign id formats that pass [CheckID], and flat payloads (fields beside project_id
// instead of below data, as the Project service sends them). A body that is no JSON, or not UTF-8, or lacks an event_id or
// a payload, or has other types than T, is a Permanent error with the reason.
func Decode[T any](m Message) (Received, T, error) {
	var none T
	var w struct {
		EventID   string `json:"event_id"`
		Timestamp string `json:"timestamp"`
		Payload   *struct {
			ProjectID string `json:"project_id"`
			Data      *T     `json:"data"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(m.Body, &w); err != nil {
		return Received{}, none, malformed(m, err)
	}
	if !verbatim.JSON(m.Body) {
		return Received{}, none, Permanent(ReasonInvalid, errNotVerbatim)
	}
	if w.EventID == "" {
		return Received{}, none, Permanent(ReasonInvalid, errors.New("event: the envelope lacks event_id"))
	}
	if err := CheckID(w.EventID); err != nil {
		return Received{}, none, Permanent(ReasonInvalid, fmt.Errorf("event: event_id %w", err))
	}
	if w.Payload == nil {
		return Received{}, none, Permanent(ReasonInvalid, errNoPayload)
	}
	if err := CheckPartID(w.Payload.ProjectID); err != nil {
		return Received{}, none, Permanent(ReasonInvalid, fmt.Errorf("event: project_id %w", err))
	}
	data := w.Payload.Data
	if data == nil {
		var flat struct {
			Payload T `json:"payload"`
		}
		if err := json.Unmarshal(m.Body, &flat); err != nil {
			return Received{}, none, malformed(m, err)
		}
		data = &flat.Payload
	}
	r := Received{ID: w.EventID, Key: RoutingKey(m.RoutingKey), ProjectID: w.Payload.ProjectID}
	if t, err := time.Parse(time.RFC3339Nano, w.Timestamp); err == nil && writable(t.UTC()) {
		r.Time = t.UTC()
	}
	return r, *data, nil
}

// writable reports whether a timestamp can be t: a zone can bring the first and the last day of RFC 3339 out of its years.
func writable(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

var errNotVerbatim = errors.New("event: the body is not UTF-8, or escapes half of a surrogate pair")

var errNoPayload = errors.New("event: the envelope's payload is not an object")

// BodyID returns the event_id of an envelope, whatever else is wrong with it; "" when there is none.
func BodyID(body []byte) string {
	var w struct {
		EventID string `json:"event_id"`
	}
	_ = json.Unmarshal(body, &w) // what was read before an error is there
	return w.EventID
}

// malformed returns the reason behind a decoder's error. The error's own text is left out: it may quote the value, which
// can be a code.
func malformed(m Message, err error) error {
	wrong, typed := errors.AsType[*json.UnmarshalTypeError](err)
	_, syntax := errors.AsType[*json.SyntaxError](err)
	switch {
	case syntax, typed && !strings.HasPrefix(wrong.Field, "payload"):
		return Permanent(ReasonUnreadable, errors.New("event: the body is not a JSON envelope"))
	case typed && wrong.Field == "payload":
		return Permanent(ReasonInvalid, errNoPayload)
	default:
		return Permanent(ReasonInvalid, fmt.Errorf("event: data of %s does not have the registered types", m.RoutingKey))
	}
}
