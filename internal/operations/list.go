package operations

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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

// List returns a part of a queue's list. Where there is none it has one read, and waits until the part is there, or for a
// moment: reading 10^5 letters takes seconds, the first of them none.
func (d *Desk) List(ctx context.Context, queue string, q Query) (p Page, err error) {
	s, err := d.shelf(queue)
	if err != nil {
		return p, err
	}
	if err := q.Check(false); err != nil {
		return p, err
	}
	d.readUnlessRead(s)
	d.wait(ctx, s, func() (enough bool) {
		p = Page{}
		if s.list != nil {
			p = s.list.page(q, d.Clock.Now())
		}
		p.Queue, p.Reading, p.Err, p.Job = queue, s.reading, s.err, d.working(queue)
		return !s.reading || len(p.Rows) == q.Limit
	})
	return p, nil
}

// wait calls look, under the lock, until it reports that it has seen enough, patience is over or ctx ends.
func (d *Desk) wait(ctx context.Context, s *shelf, look func() bool) {
	patience := time.NewTimer(d.Patience)
	defer patience.Stop()
	for {
		d.mu.Lock()
		s.used = d.Clock.Now()
		enough, changed := look(), s.changed
		d.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-changed:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Read has a queue's list read anew.
func (d *Desk) Read(queue string) error {
	s, err := d.shelf(queue)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.working(queue); j != nil {
		return jobWorks(*j)
	}
	d.beginReading(s)
	return nil
}

func (d *Desk) readUnlessRead(s *shelf) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.list == nil && d.working(s.queue) == nil {
		d.beginReading(s)
	}
}

// beginReading has s read in the background; the caller holds mu.
func (d *Desk) beginReading(s *shelf) {
	if s.reading {
		return
	}
	s.reading, s.err = true, nil
	d.background.Go(func() {
		if d.turn(d.life, s) != nil {
			return
		}
		defer s.leave()
		_ = d.read(d.life, s, nil) // the list has the error
	})
}

// read makes a new list of s, and calls count, under the lock, with each letter. The caller has its turn at s.
func (d *Desk) read(ctx context.Context, s *shelf, count func(event.DeadLetter)) error {
	l := &list{begun: d.Clock.Now()}
	depths, _ := d.Letters.Depths(ctx) // what is unknown is said as far as it was seen
	l.total = depths[s.queue]
	l.entries = make([]entry, 0, min(l.total, d.Budget/entryCost))
	d.mu.Lock()
	s.reading, s.err = true, nil
	d.mu.Unlock()
	err := d.Letters.List(ctx, s.queue, func(letter event.DeadLetter) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		s.list = l // the one before is kept as long as there is nothing else
		l.seen++
		d.add(l, newEntry(letter))
		if count != nil {
			count(letter)
		}
		if l.seen%tellEvery == 0 {
			s.tell()
		}
		return nil
	})
	err = ended(ctx, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	l.ended = d.Clock.Now()
	s.reading, s.err = false, err
	if err == nil {
		s.list = l
	}
	s.tell()
	return err
}

// add adds e to l where there is room; lists of other queues make room. The caller holds mu.
func (d *Desk) add(l *list, e entry) {
	if l.full = l.full || !d.makeRoom(l, e.cost()); l.full {
		return
	}
	l.entries = append(l.entries, e)
	l.bytes += e.cost()
}

// makeRoom reports whether l may grow by n bytes.
func (d *Desk) makeRoom(l *list, n int) bool {
	for {
		sum := n
		var idle *shelf
		for _, s := range d.shelves {
			if s.list == nil {
				continue
			}
			sum += s.list.bytes
			if s.list != l && !s.reading && (idle == nil || s.used.Before(idle.used)) {
				idle = s
			}
		}
		if sum <= d.Budget {
			return true
		}
		if idle == nil {
			return false
		}
		idle.list = nil
	}
}

// ErrNoSuchLetter is returned for a letter that the list of its queue does not have.
var ErrNoSuchLetter = errors.New("this queue has no such dead letter any more")

// Shown is one dead letter.
type Shown struct {
	Row
	ReadAt  time.Time // when Details were read
	Details []Detail  // of each copy with its event id; empty: they are being read, or Err
	Reading bool
	Err     error
}

// detailsKept is how many letters' details are kept, and copies of each.
const detailsKept = 16

// details are what one look has brought of one letter.
type details struct {
	at     time.Time
	copies []Detail
	err    error
	ended  bool
}

// Show returns the letter with a mark. For its details the whole queue is looked at: where that takes longer than a moment
// they come later.
func (d *Desk) Show(ctx context.Context, queue, name string) (shown Shown, err error) {
	s, err := d.shelf(queue)
	if err != nil {
		return shown, err
	}
	d.readUnlessRead(s)
	d.wait(ctx, s, func() (enough bool) {
		found := false
		if s.list != nil {
			shown.Row, found = s.list.byMark(name)
		}
		switch {
		case !found && s.reading:
			shown.Reading = true
			return false
		case !found:
			shown.Reading, err = false, cmp.Or(s.err, ErrNoSuchLetter)
			return true
		}
		got := d.detailsOf(s, shown.Row)
		shown.ReadAt, shown.Details, shown.Err, shown.Reading = got.at, got.copies, got.err, !got.ended
		return got.ended
	})
	return shown, err
}

// detailsOf returns what there is of a letter's details, and has them read where there is nothing; the caller holds mu.
func (d *Desk) detailsOf(s *shelf, row Row) details {
	if known := s.details[row.Mark]; known != nil && (!known.ended || d.Clock.Now().Sub(known.at) < time.Minute && known.err == nil) {
		return *known
	}
	if j := d.working(s.queue); j != nil {
		return details{err: jobWorks(*j), ended: true}
	}
	if failed := s.details[row.Mark]; failed != nil && failed.err != nil {
		delete(s.details, row.Mark) // once it was shown the next one who asks has it read again
		return *failed
	}
	if len(s.details) >= detailsKept {
		clear(s.details)
	}
	reading := &details{at: d.Clock.Now()}
	s.details[row.Mark] = reading
	d.background.Go(func() {
		err := d.turn(d.life, s)
		var copies []Detail
		if err == nil {
			defer s.leave()
			err = d.Letters.Show(d.life, s.queue, Selection{IDs: []string{row.EventID}}, func(one Detail) error {
				if len(copies) < detailsKept {
					copies = append(copies, one.shortened())
				}
				return nil
			})
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		reading.copies, reading.err, reading.ended = copies, err, true
		s.tell()
	})
	return *reading
}

// headersShown bounds what is kept of a stranger's message.
const headersShown = 50

func (one Detail) shortened() Detail {
	one.ContentType = shortened(one.ContentType)
	kept := map[string]string{}
	for name, value := range one.Headers {
		if len(kept) == headersShown {
			break
		}
		kept[shortened(name)] = shortened(value)
	}
	one.Headers = kept
	return one
}
