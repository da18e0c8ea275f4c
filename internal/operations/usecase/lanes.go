// Package usecase does what operators ask for and no other domain owns.
package usecase

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/operations"
)

// How many characters a name and a reason may have.
const (
	maxName   = 100
	maxReason = 500
)

// LanesDeps are what Lanes needs; all are required.
type LanesDeps struct {
	Tx     operations.Transactor
	Pauses operations.LanePauses
	Audit  audit.Recorder
	Clock  operations.Clock
	Names  []string // of all lanes
}

// Lanes pauses and resumes the queues that send mail, for all processes. It is safe for concurrent use.
type Lanes struct{ deps LanesDeps }

// NewLanes returns a [Lanes].
func NewLanes(d LanesDeps) *Lanes { return &Lanes{d} }

// Pause takes a lane out of use until [Lanes.Resume], in the name of the operator of ctx. Of two concurrent calls exactly
// one succeeds. It returns operations.ErrNoLane, operations.ErrText for a name or a reason that cannot be kept or a name
// that is missing, and operations.ErrPaused, which says by whom.
func (l *Lanes) Pause(ctx context.Context, queue, reason string) (operations.LanePause, error) {
	p := operations.LanePause{
		Queue:  queue,
		By:     strings.TrimSpace(audit.OriginOf(ctx).Operator),
		Reason: strings.TrimSpace(reason),
	}
	if err := l.check(p); err != nil {
		return p, err
	}
	err := l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		p.Since = l.deps.Clock.Now()
		added, err := l.deps.Pauses.Add(ctx, p)
		if err != nil {
			return err
		}
		if !added {
			return l.pausedAlready(ctx, queue)
		}
		return l.record(ctx, audit.LanePaused, p, p.Reason)
	})
	return p, err
}

// Resume ends the pause of a lane and returns it as it was. Its errors are those of Pause, and operations.ErrNotPaused.
func (l *Lanes) Resume(ctx context.Context, queue string) (p operations.LanePause, err error) {
	by := strings.TrimSpace(audit.OriginOf(ctx).Operator)
	if err := l.check(operations.LanePause{Queue: queue, By: by}); err != nil {
		return p, err
	}
	err = l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		var err error
		if p, err = l.deps.Pauses.Remove(ctx, queue); err != nil {
			return err
		}
		was := fmt.Sprintf("paused by %s since %s", p.By, p.Since.UTC().Format(time.DateTime))
		return l.record(ctx, audit.LaneResumed, operations.LanePause{Queue: queue, By: by}, was)
	})
	return p, err
}

// Paused returns the pauses there are, by queue.
func (l *Lanes) Paused(ctx context.Context) ([]operations.LanePause, error) {
	return l.deps.Pauses.All(ctx)
}

// check returns an error for a pause that cannot be stored.
func (l *Lanes) check(p operations.LanePause) error {
	switch {
	case !slices.Contains(l.deps.Names, p.Queue):
		return fmt.Errorf("%w: there are %s", operations.ErrNoLane, strings.Join(l.deps.Names, ", "))
	case p.By == "":
		return fmt.Errorf("%w: say who you are, for the record", operations.ErrText)
	case !fits(p.By, maxName):
		return fmt.Errorf("%w: the name must be one line of at most %d characters", operations.ErrText, maxName)
	case !fits(p.Reason, maxReason):
		return fmt.Errorf("%w: the reason must be one line of at most %d characters", operations.ErrText, maxReason)
	}
	return nil
}

// fits reports whether text is one line of at most n characters that a terminal can print.
func fits(text string, n int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= n &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// pausedAlready returns the error that says by whom.
func (l *Lanes) pausedAlready(ctx context.Context, queue string) error {
	p, err := l.deps.Pauses.Of(ctx, queue)
	if err != nil { // it was resumed meanwhile, or cannot be read
		return err
	}
	return fmt.Errorf("%w, by %s since %s", operations.ErrPaused, p.By, p.Since.UTC().Format(time.DateTime))
}

func (l *Lanes) record(ctx context.Context, action audit.Action, p operations.LanePause, reason string) error {
	return l.deps.Audit.Record(ctx, audit.Entry{
		Action:    action,
		Operator:  p.By,
		SubjectID: p.Queue,
		Details:   audit.Details{Reason: reason},
	})
}
