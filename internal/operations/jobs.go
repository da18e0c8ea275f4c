package operations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// The bounds of a job.
const (
	DefaultRate = 50   // letters a second
	MaxRate     = 1000 // what a second of one connection with confirms can hold
	// MaxChosen is how many letters may be named; more are chosen by a filter.
	MaxChosen = 200

	// lookFor is how long one look of a job may last: a broker takes back what is held for half an hour.
	lookFor = 5 * time.Minute
	// failuresInARow end a job: they are not about single letters.
	failuresInARow = 20
	// busyTries is how often a job that goes on asks again for a queue that another process looks at.
	busyTries = 30
	// countGood is how long a count may be used.
	countGood = 15 * time.Minute
	// jobsKept and jobKept are how many jobs are kept, and for how long after their end.
	jobsKept = 50
	jobKept  = 24 * time.Hour
)

// State is how far a job is.
type State string

// The states of a job. The last three are ends.
const (
	Counting State = "counting"
	Counted  State = "counted" // it waits for a person to begin it
	Running  State = "running"
	Stopping State = "stopping"
	Done     State = "done"
	Stopped  State = "stopped" // by a person, or with the process
	Failed   State = "failed"
)

// Ended reports whether nothing happens any more.
func (s State) Ended() bool { return s == Done || s == Stopped || s == Failed }

// Job is work on the dead letters of one queue.
type Job struct {
	ID string
	Work
	State     State
	Counted   int       // how many were meant when it began
	CountedAt time.Time // when the look that counted them began; zero: they were named
	BegunAt   time.Time
	EndedAt   time.Time
	Seen      int // how many letters the look has seen that goes on, or was the last
	Gone      map[string]int
	Failures  int    // letters that stay because something went wrong with them alone
	LastError string // what
	Error     string // why it failed or was stopped
}

// Handled returns how many letters are gone from the dead queue.
func (j Job) Handled() (n int) {
	for _, some := range j.Gone {
		n += some
	}
	return n
}

// Remaining returns how many of those counted have not had their turn.
func (j Job) Remaining() int { return max(0, j.Counted-j.Handled()-j.Failures) }

// Named reports whether the letters were named one by one.
func (j Job) Named() bool { return len(j.IDs) > 0 }

type job struct {
	Job
	left   []string // ids that have not had their turn
	failed map[string]bool
	inARow int
	looked time.Time // when its look began
	stop   context.CancelCauseFunc
}

func (j *job) old(now time.Time) bool {
	return j.State.Ended() && now.Sub(j.EndedAt) > jobKept || j.State == Counted && now.Sub(j.CountedAt) > countGood
}

func (j *job) snapshot() *Job {
	c := j.Job
	c.IDs = slices.Clone(j.IDs)
	c.Gone = map[string]int{}
	for action, n := range j.Gone {
		c.Gone[action] = n
	}
	return &c
}

var (
	errStopped  = errors.New("stopped")
	errEnds     = errors.New("this process has ended")
	errEnough   = errors.New("operations: as many as were counted")
	errNextLook = errors.New("operations: time for the next look")

	// ErrNoSuchJob is returned for a job that this process does not have.
	ErrNoSuchJob = errors.New("this process has no such job: jobs are kept for a day, and end with their process")
	// ErrNotCounted is returned for a job that cannot be begun.
	ErrNotCounted = errors.New("only what has just been counted can be begun; count again")
)

// working returns the job that is at a queue, or nil; the caller holds mu.
func (d *Desk) working(queue string) *Job {
	for _, j := range d.jobs {
		if j.Queue == queue && !j.State.Ended() && j.State != Counted {
			return j.snapshot()
		}
	}
	return nil
}

// Jobs returns all of this process, the newest first.
func (d *Desk) Jobs() (all []Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range slices.Backward(d.jobs) {
		all = append(all, *j.snapshot())
	}
	return all
}

// Job returns one of them.
func (d *Desk) Job(id string) (Job, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j, err := d.find(id)
	if err != nil {
		return Job{}, err
	}
	return *j.snapshot(), nil
}

func (d *Desk) find(id string) (*job, error) {
	for _, j := range d.jobs {
		if j.ID == id {
			return j, nil
		}
	}
	return nil, ErrNoSuchJob
}

// Count has the letters counted that s selects, for a job that [Desk.Begin] begins.
func (d *Desk) Count(queue string, action Action, s Selection) (Job, error) {
	if err := s.Check(true); err != nil {
		return Job{}, err
	}
	shelf, err := d.shelf(queue)
	if err != nil {
		return Job{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	j, err := d.reserve(Work{Queue: queue, Action: action, Selection: s}, Counting)
	if err != nil {
		return Job{}, err
	}
	d.start(j, shelf, d.count)
	return *j.snapshot(), nil
}

// count is the work of a job that counts. What it looks at becomes the queue's list, too.
func (d *Desk) count(ctx context.Context, j *job, s *shelf) {
	d.mu.Lock()
	j.At = d.Clock.Now()
	j.CountedAt = j.At
	selected := j.Selection
	d.mu.Unlock()
	err := d.read(ctx, s, func(l event.DeadLetter) {
		j.Seen++
		if selected.Matches(l, selected.At) {
			j.Counted++
		}
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if j.State, j.Error = Counted, ""; err != nil {
		d.close(j, ended(ctx, err))
	}
}

// reserve makes a job in a state. One at a time works on a queue. The caller holds mu.
func (d *Desk) reserve(w Work, state State) (*job, error) {
	if w.Action != Replay && w.Action != Discard {
		return nil, errors.New("dead letters are replayed or discarded")
	}
	if other := d.working(w.Queue); other != nil {
		return nil, jobWorks(*other)
	}
	// What was counted and not begun makes room, and then what ended first.
	d.jobs = slices.DeleteFunc(d.jobs, func(j *job) bool { return j.Queue == w.Queue && j.State == Counted })
	over := len(d.jobs) + 1 - jobsKept
	d.jobs = slices.DeleteFunc(d.jobs, func(j *job) bool {
		goes := over > 0 && j.State.Ended()
		if goes {
			over--
		}
		return goes
	})
	d.begun++
	j := &job{Job: Job{ID: fmt.Sprint(d.begun), Work: w, State: state, Gone: map[string]int{}}, failed: map[string]bool{}}
	d.jobs = append(d.jobs, j)
	return j, nil
}

// start has work done in the background once it is its turn; the caller holds mu.
func (d *Desk) start(j *job, s *shelf, work func(context.Context, *job, *shelf)) {
	ctx, stop := context.WithCancelCause(d.life)
	j.stop = stop
	d.background.Go(func() {
		defer stop(nil)
		if err := d.turn(ctx, s); err != nil {
			d.mu.Lock()
			d.close(j, ended(ctx, err))
			d.mu.Unlock()
			return
		}
		defer s.leave()
		work(ctx, j, s)
	})
}

// ended returns why work has ended whose context is ctx.
func ended(ctx context.Context, err error) error {
	switch {
	case err == nil, ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), errStopped):
		return context.Cause(ctx)
	}
	return errEnds
}

// close ends a job; the caller holds mu.
func (d *Desk) close(j *job, err error) {
	j.EndedAt = d.Clock.Now()
	switch {
	case err == nil:
		j.State = Done
	case errors.Is(err, errStopped), errors.Is(err, errEnds):
		j.State, j.Error = Stopped, err.Error()
	default:
		j.State, j.Error = Failed, shortened(err.Error())
	}
}

// Order is how a person has a job begun.
type Order struct {
	By        string
	Why       string // what is discarded needs a reason
	PerSecond int    // 0: [DefaultRate]
}

// check returns o with what is missing, or an error that names what has to be there.
func (o Order) check(a Action) (Order, error) {
	o.By, o.Why = strings.TrimSpace(o.By), strings.TrimSpace(o.Why)
	if o.PerSecond == 0 {
		o.PerSecond = DefaultRate
	}
	switch {
	case o.By == "":
		return o, errors.New("say who you are: the record names who did it")
	case o.Why == "" && a == Discard:
		return o, errors.New("say why: nothing else remembers what is discarded")
	case o.PerSecond < 1 || o.PerSecond > MaxRate:
		return o, fmt.Errorf("the rate is 1 to %d letters a second", MaxRate)
	}
	return o, nil
}

// HandleNamed begins a job on the letters with these event ids.
func (d *Desk) HandleNamed(ctx context.Context, queue string, action Action, ids []string, o Order) (Job, error) {
	o, err := o.check(action)
	slices.Sort(ids)
	ids = slices.Compact(slices.Clone(ids))
	switch {
	case err != nil:
		return Job{}, err
	case len(ids) == 0 || ids[0] == "":
		return Job{}, errors.New("choose letters first")
	case len(ids) > MaxChosen:
		return Job{}, fmt.Errorf("choose %d letters at most, or all that match a filter", MaxChosen)
	}
	if _, err := d.shelf(queue); err != nil {
		return Job{}, err
	}
	d.mu.Lock()
	j, err := d.reserve(Work{Queue: queue, Action: action, Selection: Selection{IDs: ids, At: d.Clock.Now()}}, Running)
	if err == nil {
		j.Counted = len(ids)
	}
	d.mu.Unlock()
	if err != nil {
		return Job{}, err
	}
	return d.begin(ctx, j, o, func() {
		d.jobs = slices.DeleteFunc(d.jobs, func(other *job) bool { return other == j })
	})
}

// Begin begins a job whose letters have been counted. It handles no more of them than that, and none that died later.
func (d *Desk) Begin(ctx context.Context, id string, o Order) (Job, error) {
	d.mu.Lock()
	j, err := d.find(id)
	if err == nil {
		o, err = o.check(j.Action)
	}
	if err == nil && (j.State != Counted || j.old(d.Clock.Now())) {
		err = ErrNotCounted
	}
	if err == nil {
		j.State = Running
	}
	d.mu.Unlock()
	if err != nil {
		return Job{}, err
	}
	return d.begin(ctx, j, o, func() { j.State = Counted })
}

// begin records that a job begins, and has it work. Where it cannot be recorded nothing is done, and undo is called under
// the lock.
func (d *Desk) begin(ctx context.Context, j *job, o Order, undo func()) (Job, error) {
	d.mu.Lock()
	j.By, j.Why, j.PerSecond, j.BegunAt = o.By, o.Why, o.PerSecond, d.Clock.Now()
	j.Seen, j.left = 0, slices.Clone(j.IDs)
	begun := *j.snapshot()
	d.mu.Unlock()
	err := d.Records.Record(ctx, o.By, j.Action.audited(), j.Queue, begun.beginning())
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		undo()
		return Job{}, fmt.Errorf("nothing was done, because it could not be recorded: %w", err)
	}
	s, err := d.shelf(j.Queue)
	if err != nil {
		return Job{}, err
	}
	d.start(j, s, d.handle)
	return *j.snapshot(), nil
}

// Stop has a job end with the letter it is at. by is who wants it so.
func (d *Desk) Stop(id, by string) (Job, error) {
	stopped := fmt.Errorf("%w by %s", errStopped, by)
	d.mu.Lock()
	defer d.mu.Unlock()
	j, err := d.find(id)
	if err != nil {
		return Job{}, err
	}
	switch {
	case j.State == Counted:
		d.close(j, stopped)
	case j.State == Running && j.stop == nil: // it is being recorded
		return Job{}, errors.New("it is just beginning; try again")
	case !j.State.Ended():
		j.State = Stopping
		j.stop(stopped)
	}
	return *j.snapshot(), nil
}

// handle is the work of a job that has begun: one look after the other.
func (d *Desk) handle(ctx context.Context, j *job, s *shelf) {
	var err error
	for busy := 0; ; {
		err = d.look(ctx, j)
		again := errors.Is(err, ErrBusy) && !j.first() && busy < busyTries
		if again {
			busy++
			again = pause(ctx, 2*time.Second)
		}
		if !again && !errors.Is(err, errNextLook) {
			break
		}
		if len(j.IDs) > 0 && len(j.left) == 0 {
			err = nil // no ids would be every letter
			break
		}
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	d.mu.Lock()
	over := job{Job: *j.snapshot()}
	d.close(&over, ended(ctx, err))
	d.mu.Unlock()
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	err = d.Records.Record(recording, over.By, over.Action.audited(), over.Queue, over.ending())
	if err != nil {
		d.Unrecorded(over.Job, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	j.Job = over.Job // the end is seen once it is recorded
	s.drop()
}

// first reports whether nothing has been looked at yet.
func (j *job) first() bool { return j.Handled()+j.Failures == 0 }

func pause(ctx context.Context, d time.Duration) (over bool) {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// look is one look of a job at its queue. It returns errNextLook when it has lasted long enough.
func (d *Desk) look(ctx context.Context, j *job) error {
	d.mu.Lock()
	j.Seen, j.looked = 0, d.Clock.Now()
	w := j.Work
	w.IDs = slices.Clone(j.left)
	d.mu.Unlock()
	return d.Letters.Handle(ctx, w, Reports{
		Seen: func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			j.Seen++
		},
		Handled: func(o Outcome) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			j.Gone[o.Action]++
			j.inARow = 0
			return d.next(j, o.EventID)
		},
		Failed: func(l event.DeadLetter, err error) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			if j.failed[l.EventID] {
				return nil // by the look before
			}
			j.failed[l.EventID] = true
			j.Failures++
			j.LastError = shortened(err.Error())
			if j.inARow++; j.inARow >= failuresInARow {
				return fmt.Errorf("%d letters in a row could not be handled, the last because: %w", j.inARow, err)
			}
			return d.next(j, l.EventID)
		},
	})
}

// next returns why a look ends after a letter, if it does; the caller holds mu.
func (d *Desk) next(j *job, id string) error {
	j.left = slices.DeleteFunc(j.left, func(other string) bool { return other == id })
	switch {
	case !j.Named() && j.Remaining() == 0:
		return errEnough
	case d.Clock.Now().Sub(j.looked) > lookFor:
		return errNextLook
	}
	return nil
}

// recordFor is how long the end of a job may take to be recorded.
const recordFor = 5 * time.Second

// beginning is what the record says when a job begins: the reason, and which letters.
func (j Job) beginning() string {
	chosen := []string{"console job " + j.ID + " begins:"}
	for _, id := range j.IDs {
		chosen = append(chosen, "--id "+id)
	}
	if j.All {
		chosen = append(chosen, "--all")
	}
	chosen = append(chosen, j.filters()...)
	if !j.CountedAt.IsZero() {
		chosen = append(chosen, fmt.Sprintf("(%d counted at %s)", j.Counted, j.CountedAt.UTC().Format(time.TimeOnly)))
	}
	chosen = append(chosen, fmt.Sprintf("--rate %d", j.PerSecond))
	return strings.TrimSpace(j.Why + " [" + strings.Join(chosen, " ") + "]")
}

// filters are those of the selection, as a command takes them.
func (s Selection) filters() (all []string) {
	for _, f := range []struct{ flag, value string }{{"--dead-reason ", s.Reason}, {"--key ", s.Key}} {
		if f.value != "" {
			all = append(all, f.flag+f.value)
		}
	}
	for _, f := range []struct {
		flag  string
		value time.Duration
	}{{"--older-than ", s.OlderThan}, {"--newer-than ", s.NewerThan}} {
		if f.value != 0 {
			all = append(all, f.flag+f.value.String())
		}
	}
	return all
}

// ending is what the record says when a job has ended.
func (j Job) ending() string {
	said := fmt.Sprintf("[console job %s %s: %d of %d handled", j.ID, j.State, j.Handled(), j.Counted)
	for _, action := range []string{Replayed, AlreadySent, Discarded} {
		if n := j.Gone[action]; n > 0 {
			said += fmt.Sprintf(", %d %s", n, strings.ReplaceAll(action, "_", " "))
		}
	}
	said += fmt.Sprintf(", %d failed", j.Failures)
	if j.Error != "" {
		said += "; " + j.Error
	}
	return said + "]"
}
