package operations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/event"
)

// recordFor is how long the end of a job may take to be recorded.
const recordFor = 5 * time.Second

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
