package operations

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

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
