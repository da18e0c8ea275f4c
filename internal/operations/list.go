package operations

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	"github.com/smap-platform/identity/internal/event"
)

const (
	// listBudget is how much memory the lists of all queues may take together; 10^5 letters take about 13 MB.
	listBudget = 24 << 20
	// entryCost is what an entry takes beside its id.
	entryCost = 96
	// listKept is how long a list is kept that nobody looks at.
	listKept = 10 * time.Minute
	// shownWord bounds what strangers wrote into a header, as far as it is kept.
	shownWord = 200
	// tellEvery is after how many letters those who wait for a list look at it again.
	tellEvery = 256
	// choices is how many reasons and routing keys are offered to filter by.
	choices = 20
)

// entry is what is kept of a dead letter.
type entry struct {
	id                 string
	mark               mark
	key, reason, class unique.Handle[string]
	attempts, size     int
	first, died        int64 // Unix, in nanoseconds; 0: unknown
}

// mark names a letter in addresses of pages, where its id, which may be a stranger's, does not belong.
type mark [8]byte

func markOf(id string) (m mark) {
	sum := sha256.Sum256([]byte(id))
	copy(m[:], sum[:])
	return m
}

// MarkOf returns the Mark of the rows with an event id.
func MarkOf(eventID string) string { return markOf(eventID).String() }

func (m mark) String() string { return hex.EncodeToString(m[:]) }

func newEntry(l event.DeadLetter) entry {
	return entry{
		id: l.EventID, mark: markOf(l.EventID),
		key: word(l.RoutingKey), reason: word(l.Reason), class: word(l.ErrorClass),
		attempts: l.Attempts, size: l.BodyBytes,
		first: moment(l.FirstFailed), died: moment(l.DeadSince),
	}
}

func word(text string) unique.Handle[string] { return unique.Make(shortened(text)) }

func shortened(text string) string {
	if len(text) <= shownWord {
		return text
	}
	return strings.ToValidUTF8(text[:shownWord], "") + "…"
}

func moment(text string) int64 {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UnixNano()
	}
	return 0
}

func at(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}

func (e entry) cost() int { return entryCost + len(e.id) }

func (e entry) row() Row {
	return Row{
		EventID: e.id, Mark: e.mark.String(), RoutingKey: e.key.Value(), Reason: e.reason.Value(), ErrorClass: e.class.Value(),
		Attempts: e.attempts, BodyBytes: e.size, FirstFailed: at(e.first), DeadSince: at(e.died),
	}
}

// list is what one look has seen of a dead queue.
type list struct {
	begun, ended time.Time
	total        int // how many there were when it began, by the broker's count
	seen         int
	entries      []entry
	bytes        int
	full         bool // there was no room for the last ones
}

// Row is a dead letter in a list.
type Row struct {
	EventID     string
	Mark        string // names it in addresses
	RoutingKey  string
	Reason      string
	ErrorClass  string
	Attempts    int
	BodyBytes   int
	FirstFailed time.Time // zero: unknown
	DeadSince   time.Time
}

// Choice is a value that letters of a list have, and how many.
type Choice struct {
	Value string
	Count int
}

// Query is which part of a list is wanted.
type Query struct {
	Selection        // without ids
	After     string // the Next of the page before; empty: from the beginning
	Limit     int
}

// Page is a part of a list. Its figures are of the whole list, as it was read.
type Page struct {
	Queue     string
	ReadAt    time.Time // when the look began; zero: there was none
	Reading   bool      // it goes on: the figures grow
	Seen      int       // how many letters the look has seen
	Total     int       // how many there were when it began
	Full      bool      // the last ones had no room: they are counted in Seen, and nowhere else
	Listed    int
	Matching  int
	First     int // the number of the first row among those that match; 0: none
	Rows      []Row
	Next      string // empty: no more
	Reasons   []Choice
	Keys      []Choice
	Err       error // why the last look has failed
	Job       *Job  // what works on the queue just now: nothing is read meanwhile
	Forgotten bool  // After is of a list that is gone
}

// page returns the part of l that q wants.
func (l *list) page(q Query, now time.Time) Page {
	p := Page{
		ReadAt: l.begun, Seen: l.seen, Total: max(l.total, l.seen), Full: l.full, Listed: len(l.entries),
	}
	reasons, keys := map[unique.Handle[string]]int{}, map[unique.Handle[string]]int{}
	after, found := l.position(q.After)
	p.Forgotten = !found
	last := -1
	for i, e := range l.entries {
		reasons[e.reason]++
		keys[e.key]++
		if !q.matches(e.id, e.reason.Value(), e.key.Value(), at(e.died), now) {
			continue
		}
		p.Matching++
		switch {
		case i <= after:
		case len(p.Rows) < q.Limit:
			if len(p.Rows) == 0 {
				p.First = p.Matching
			}
			p.Rows = append(p.Rows, e.row())
			last = i
		case p.Next == "":
			p.Next = l.cursor(last)
		}
	}
	p.Reasons, p.Keys = chosen(reasons), chosen(keys)
	return p
}

func (l *list) cursor(i int) string { return fmt.Sprintf("%d-%s", i, l.entries[i].mark) }

// position returns the index of the letter that a cursor names, also in a list that was read later, which has fewer before
// it. -1 is before the first.
func (l *list) position(cursor string) (i int, found bool) {
	if cursor == "" {
		return -1, true
	}
	number, name, _ := strings.Cut(cursor, "-")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 {
		return -1, false
	}
	for i = min(i, len(l.entries)-1); i >= 0; i-- {
		if l.entries[i].mark.String() == name {
			return i, true
		}
	}
	return -1, false
}

func chosen(counts map[unique.Handle[string]]int) (all []Choice) {
	for value, n := range counts {
		all = append(all, Choice{value.Value(), n})
	}
	slices.SortFunc(all, func(a, b Choice) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	return all[:min(len(all), choices)]
}

// byMark returns the letter with this mark.
func (l *list) byMark(name string) (Row, bool) {
	for _, e := range l.entries {
		if e.mark.String() == name {
			return e.row(), true
		}
	}
	return Row{}, false
}
