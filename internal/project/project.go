package project

import (
	"fmt"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"
)

// Status is how far a project is. The hash is shared: neighbours may write others than these, and they stay.
type Status string

// The statuses this service knows (docs/compatibility.md). NotFound is an answer and never stored.
const (
	StatusNotFound     Status = "NOT_FOUND"
	StatusInitializing Status = "INITIALIZING"
	StatusCrawling     Status = "CRAWLING"        // items are still being found: the finish line is not drawn
	StatusProcessing   Status = "PROCESSING"      // the total is final
	StatusWaiting      Status = "PROCESSING_WAIT" // a neighbour's word; read as PROCESSING
	StatusDone         Status = "DONE"            // final: every item is finished, failed ones included
	StatusFailed       Status = "FAILED"          // final: given up as a whole
)

// Final tells whether nothing but the repair of a failed item can change any more.
func (s Status) Final() bool { return s == StatusDone || s == StatusFailed }

// Progress is how far a project is at one moment.
type Progress struct {
	ProjectID string
	Status    Status
	Total     int64 // items; 0: not known yet
	Done      int64 // finished items, failures included; may exceed Total while that is still being raised
	Errors    int64 // those of Done that failed
}

// Found tells whether there is such a project.
func (p Progress) Found() bool { return p.Status != StatusNotFound }

// Percent is Done of Total in hundredths of a percent, rounded down and kept within 0 and 100; 0 while Total is 0.
func (p Progress) Percent() float64 {
	if p.Total <= 0 || p.Done <= 0 {
		return 0
	}
	if p.Done >= p.Total {
		return 100
	}
	high, low := bits.Mul64(uint64(p.Done), 100*100)
	hundredths, _ := bits.Div64(high, low, uint64(p.Total)) // exact, where floats would make 57 of 100 into 56.99
	return float64(hundredths) / 100
}

// Change is what an operation has left behind.
type Change struct {
	Progress
	Owner string // user id; empty while it is not known
	// Crossed: this very call has crossed the finish line. The answer that says so can be lost; Unsignalled cannot.
	Crossed bool
	// Unsignalled: the project is done, we have counted it, and nobody has yet handed its job.completed to the outbox.
	Unsignalled bool
	// Refused: the project is DONE or FAILED and stays as it is.
	Refused bool
}

// Item is one unit of work that has ended.
type Item struct {
	ID     string // opaque; counted once, whatever is delivered or retried
	Failed bool
}

// Completion is a project that has crossed the finish line.
type Completion struct {
	Progress
	Owner       string
	CompletedAt time.Time
}

// Watching is a project that is being watched.
type Watching struct {
	Now     Progress        // as it was when the watching began
	Changes <-chan Progress // see Watcher
	Stop    func()          // must be called
}

// Actor is who asks.
type Actor struct {
	UserID string
	Admin  bool
}

// Limits of what other services send.
const (
	MaxItems       = 1000      // per call
	maxIDBytes     = 200       // of a project's, a user's or an item's id: they are parts of keys and members of sets
	maxTotal       = 1<<53 - 1 // what a Lua number holds exactly
	maxReasonBytes = 500
)

// CheckID answers ErrBody with the field's problem unless id can be one: 1 to 200 bytes of UTF-8 without control
// characters. Ids are opaque and used exactly as received.
func CheckID(field, id string) error {
	if id == "" {
		return ErrBody.WithFields(map[string]string{field: "is required"})
	}
	if len(id) > maxIDBytes || !utf8.ValidString(id) || hasControl(id) {
		return ErrBody.WithFields(map[string]string{field: "must have at most 200 bytes and no control characters"})
	}
	return nil
}

// CheckTotal answers ErrBody for a total below 0 or above 2^53-1.
func CheckTotal(total int64) error {
	if total < 0 || total > maxTotal {
		return ErrBody.WithFields(map[string]string{"total": "must be a whole number from 0 to " + strconv.Itoa(maxTotal)})
	}
	return nil
}

// CheckItems answers ErrBody unless there are 1 to MaxItems items with usable ids.
func CheckItems(items []Item) error {
	if len(items) == 0 || len(items) > MaxItems {
		return ErrBody.WithFields(map[string]string{"items": fmt.Sprintf("must have 1 to %d items", MaxItems)})
	}
	for i, item := range items {
		if err := CheckID(fmt.Sprintf("items[%d].item_id", i), item.ID); err != nil {
			return err
		}
	}
	return nil
}

// CheckReason answers ErrBody unless reason has 1 to 500 bytes without control characters.
func CheckReason(reason string) error {
	if reason == "" || len(reason) > maxReasonBytes || !utf8.ValidString(reason) || hasControl(reason) {
		return ErrBody.WithFields(map[string]string{"reason": "must have 1 to 500 bytes and no control characters"})
	}
	return nil
}

func hasControl(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return true
		}
	}
	return false
}
