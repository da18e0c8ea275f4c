package project

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Status is the state of a project. The hash is shared: other services may store statuses that are not listed here, and
// they stay.
type Status string

// The statuses this service knows (docs/compatibility.md). StatusNotFound is returned and never stored.
const (
	StatusNotFound     Status = "NOT_FOUND"
	StatusInitializing Status = "INITIALIZING"
	StatusCrawling     Status = "CRAWLING"        // items are still being found: the finish line does not apply
	StatusProcessing   Status = "PROCESSING"      // the total is final
	StatusWaiting      Status = "PROCESSING_WAIT" // written by another service; read as PROCESSING
	StatusDone         Status = "DONE"            // final: every item has ended, failed ones included
	StatusFailed       Status = "FAILED"          // final: given up as a whole
)

// Final reports whether the project has ended: only a failed item can still be repaired.
func (s Status) Final() bool { return s == StatusDone || s == StatusFailed }

// Progress is the progress of a project at one moment.
type Progress struct {
	ProjectID string
	Status    Status
	Total     int64 // items; 0 while unknown
	Done      int64 // ended items, failed ones included; may exceed Total while the total still grows
	Errors    int64 // those of Done that failed

	hundredths int64 // of a percent, of a project in phases: see InPhases
}

// Found reports whether the project exists.
func (p Progress) Found() bool { return p.Status != StatusNotFound }

// Percent returns Done as a percentage of Total, rounded down to hundredths and clamped to 0–100; see [Progress.InPhases]
// for a project in phases. It is 0 while Total is 0, and 100 once the project is DONE.
func (p Progress) Percent() float64 {
	switch {
	case p.Status == StatusDone:
		return 100
	case p.hundredths > 0:
		return float64(p.hundredths) / 100
	}
	return float64(hundredthsOf(p.Done, p.Total)) / 100
}

// hundredthsOf returns done of total in hundredths of a percent, rounded down, from 0 to 10,000.
func hundredthsOf(done, total int64) int64 {
	if total <= 0 || done <= 0 {
		return 0
	}
	if done >= total {
		return 100 * 100
	}
	high, low := bits.Mul64(uint64(done), 100*100)
	hundredths, _ := bits.Div64(high, low, uint64(total)) // exact: floats turn 57 of 100 into 56.99
	return int64(hundredths)                              //nolint:gosec // G115: below 10,000
}

// Phase is one part of the work on a project, as the service that does it counts.
type Phase struct {
	Planned bool  // the project has this phase, even while its total is unknown
	Total   int64 // 0 while unknown
	Done    int64 // without the failed ones
	Errors  int64
}

// ended returns how much of the phase has ended, the failed part included.
func (ph Phase) ended() int64 { return min(ph.Done+ph.Errors, ph.Total) }

// InPhases returns p, a project without a total, as far as other services have counted it in phases: collecting, in tasks
// or else in crawled items, and the analysis. Total, Done and Errors are the sums of both, and Percent is their mean. A
// planned analysis of unknown size has not begun: collecting alone is half of the way. Without any total p stays as it
// is.
func (p Progress) InPhases(tasks, crawl, analysis Phase) Progress {
	collecting := tasks
	if tasks.Total == 0 {
		collecting = crawl
	}
	known := int64(0)
	for _, ph := range []Phase{collecting, analysis} {
		if ph.Total > 0 {
			known++
			p.hundredths += hundredthsOf(ph.ended(), ph.Total)
		}
	}
	if known == 0 {
		return p
	}
	if analysis.Planned && analysis.Total == 0 {
		known++
	}
	p.hundredths /= known
	p.Total = collecting.Total + analysis.Total
	p.Done = collecting.ended() + analysis.ended()
	p.Errors = collecting.Errors + analysis.Errors
	return p
}

// Change is the project after an operation.
type Change struct {
	Progress
	Owner string // user id; "" while unknown
	// Crossed reports whether this call crossed the finish line. A lost reply loses it; Unsignalled is never lost.
	Crossed bool
	// Unsignalled reports that the project is done, was counted by this service, and has no job.completed in the
	// outbox yet.
	Unsignalled bool
	// Refused reports that the project is DONE or FAILED and was not changed.
	Refused bool
}

// Item is one unit of work that has ended.
type Item struct {
	ID     string // opaque; stable across redeliveries and retries
	Failed bool
}

// Completion is a project that has crossed the finish line.
type Completion struct {
	Progress
	Owner       string
	CompletedAt time.Time
}

// Watch is a live view of a project.
type Watch struct {
	Now     Progress        // at the start of the watch
	Changes <-chan Progress // see [ProgressWatcher]
	Stop    func()          // must be called
}

// CanonicalUser returns a user id in the form that this service gives its own: a uuid in lower case. Any other id is
// returned as it is. Other services may write the same uuid in capitals; ids are stored as they were received, and
// compared in this form.
func CanonicalUser(id string) string {
	parsed, err := uuid.Parse(id)
	if err != nil || len(id) != len(uuid.Nil.String()) {
		return id
	}
	return parsed.String()
}

// Actor is the user who makes a request, with the role that the database has now.
type Actor struct {
	UserID string
	Admin  bool
}

// Limits on the input of other services.
const (
	MaxItems       = 1000      // per call
	maxIDBytes     = 200       // of project, user and item ids, which become parts of keys and members of sets
	maxTotal       = 1<<53 - 1 // the largest integer a Lua number holds exactly
	maxReasonBytes = 500
)

// CheckID returns [ErrBody] for field, the id of a project or a user, unless id has 1 to 200 bytes of UTF-8 without
// control characters and colons, which separate the parts of keys and channels. Ids are opaque and used exactly as
// received.
func CheckID(field, id string) error {
	if strings.Contains(id, ":") {
		return ErrBody.WithFields(map[string]string{field: "must not have a colon"})
	}
	return checkText(field, id)
}

// checkText is CheckID for what only becomes the member of a set.
func checkText(field, id string) error {
	if id == "" {
		return ErrBody.WithFields(map[string]string{field: "is required"})
	}
	if !printable(id, maxIDBytes) {
		return ErrBody.WithFields(map[string]string{field: "must be UTF-8 of at most 200 bytes without control characters"})
	}
	return nil
}

// CheckTotal returns [ErrBody] for a total below 0 or above 2^53-1.
func CheckTotal(total int64) error {
	if total < 0 || total > maxTotal {
		return ErrBody.WithFields(map[string]string{"total": "must be a whole number from 0 to " + strconv.Itoa(maxTotal)})
	}
	return nil
}

// CheckItems returns [ErrBody] unless there are 1 to [MaxItems] items with valid ids.
func CheckItems(items []Item) error {
	if len(items) == 0 || len(items) > MaxItems {
		return ErrBody.WithFields(map[string]string{"items": fmt.Sprintf("must have 1 to %d items", MaxItems)})
	}
	for i, item := range items {
		if err := checkText(fmt.Sprintf("items[%d].item_id", i), item.ID); err != nil {
			return err
		}
	}
	return nil
}

// CheckReason returns [ErrBody] unless reason has 1 to 500 bytes of UTF-8 without control characters.
func CheckReason(reason string) error {
	if reason == "" || !printable(reason, maxReasonBytes) {
		return ErrBody.WithFields(map[string]string{"reason": "must be UTF-8 of 1 to 500 bytes without control characters"})
	}
	return nil
}

// printable reports whether s is UTF-8 of at most limit bytes without control characters.
func printable(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
