package operations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
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

// first reports whether nothing has been looked at yet.
func (j *job) first() bool { return j.Handled()+j.Failures == 0 }

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
