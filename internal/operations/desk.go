package operations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// DeskDeps are what a Desk needs.
type DeskDeps struct {
	Queues  []string
	Letters DeadLetters
	Records Records
	Clock   Clock
	// Unrecorded is called with an error that kept the end of a job from the record.
	Unrecorded func(Job, error)
	Patience   time.Duration // how long a page waits for what is being read; 0: 600 ms
	Budget     int           // bytes that lists may take; 0: [listBudget]
}

// Desk is where an operator looks at dead letters and has them handled, at this process. Lists and jobs are in its memory:
// with the process a job ends, and what it has not handled stays where it is.
//
// A broker lets a queue be looked at as a whole only, and by one at a time. So a page is made of a list that one look has
// brought, and everything that is done is a job, which outlives the request that began it.
type Desk struct {
	DeskDeps

	life       context.Context
	end        context.CancelFunc
	background sync.WaitGroup

	mu      sync.Mutex
	shelves []*shelf
	jobs    []*job // oldest first
	begun   int
}

// shelf is what the desk has of one queue.
type shelf struct {
	queue   string
	turns   chan struct{} // who has put something in looks at the queue
	list    *list         // nil: none
	reading bool
	err     error // of the last look
	used    time.Time
	changed chan struct{} // closed by the next change
	details map[string]*details
}

// NewDesk returns a desk. It works before Run.
func NewDesk(deps DeskDeps) *Desk {
	if deps.Patience == 0 {
		deps.Patience = 600 * time.Millisecond
	}
	if deps.Budget == 0 {
		deps.Budget = listBudget
	}
	d := &Desk{DeskDeps: deps}
	d.life, d.end = context.WithCancel(context.Background())
	for _, q := range deps.Queues {
		d.shelves = append(d.shelves, &shelf{
			queue: q, turns: make(chan struct{}, 1), changed: make(chan struct{}), details: map[string]*details{},
		})
	}
	return d
}

// Run forgets what is old until ctx ends. Then it ends all jobs, and returns once they have given back what they hold.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.forget()
		case <-ctx.Done():
			d.end()
			d.background.Wait()
			return nil
		}
	}
}

// forget drops what nobody has looked at for long.
func (d *Desk) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Clock.Now()
	for _, s := range d.shelves {
		if !s.reading && now.Sub(s.used) > listKept {
			s.list = nil
			clear(s.details)
		}
	}
	d.jobs = slices.DeleteFunc(d.jobs, func(j *job) bool { return j.old(now) })
}

// ErrNoSuchQueue is returned for a queue that is not this service's.
var ErrNoSuchQueue = errors.New("this service has no such queue")

func (d *Desk) shelf(queue string) (*shelf, error) {
	i := slices.IndexFunc(d.shelves, func(s *shelf) bool { return s.queue == queue })
	if i < 0 {
		return nil, ErrNoSuchQueue
	}
	return d.shelves[i], nil
}

// turn waits until nobody else of this process looks at the queue.
func (d *Desk) turn(ctx context.Context, s *shelf) error {
	select {
	case s.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *shelf) leave() { <-s.turns }

// tell has those who wait look again; the caller holds the lock.
func (s *shelf) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// drop forgets the list, which is no longer true.
func (s *shelf) drop() {
	s.list = nil
	clear(s.details)
	s.tell()
}

// DeadQueue is a queue in the overview.
type DeadQueue struct {
	Queue  string
	Dead   *int // nil: unknown
	ReadAt time.Time
	Job    *Job // what works on it, or waits to be begun
}

// Overview returns every queue with its dead letters, as far as the broker says it, and when.
func (d *Desk) Overview(ctx context.Context) (lines []DeadQueue, at time.Time, err error) {
	at = d.Clock.Now()
	depths, err := d.Letters.Depths(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.shelves {
		line := DeadQueue{Queue: s.queue, Job: d.working(s.queue)}
		if n, known := depths[s.queue]; known && err == nil {
			line.Dead = &n
		}
		if s.list != nil {
			line.ReadAt = s.list.begun
		}
		lines = append(lines, line)
	}
	return lines, at, err
}

func jobWorks(j Job) error {
	return fmt.Errorf("job %s works on this queue; wait for its end, or stop it", j.ID)
}
