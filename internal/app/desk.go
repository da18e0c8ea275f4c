package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	ops "github.com/smap-platform/identity/internal/operations"
)

// newDesk returns where an operator looks at dead letters in the console.
func (in *infra) newDesk() *ops.Desk {
	var names []string
	for _, q := range Queues(in.cfg) {
		names = append(names, q.Name)
	}
	return ops.NewDesk(ops.DeskDeps{
		Queues:  names,
		Letters: deskLetters{in},
		Records: deskRecords{in},
		Clock:   in.clock,
		Unrecorded: func(j ops.Job, err error) {
			in.log.Error().Err(err).Str("queue", j.Queue).Str("job", j.ID).Str("action", string(j.Action)).Str("operator", j.By).
				Str("state", string(j.State)).Int("handled", j.Handled()).Int("failed", j.Failures).
				Msg("the end of a job on dead letters is missing in the audit; this line has it")
		},
	})
}

// runDesk ends the desk's jobs once ctx ends.
func (a *App) runDesk(ctx context.Context) error {
	if a.operations.desk == nil {
		<-ctx.Done()
		return nil
	}
	return a.operations.desk.Run(ctx)
}

// deskLetters are the dead letters as the commands see them.
type deskLetters struct{ *infra }

// Depths implements [ops.DeadLetters].
func (d deskLetters) Depths(ctx context.Context) (map[string]int, error) {
	queues := Queues(d.cfg)
	var names []string
	for _, q := range queues {
		names = append(names, q.DeadQueue())
	}
	depths, err := d.broker.Depths(ctx, names)
	if err != nil {
		return nil, err
	}
	known := map[string]int{}
	for _, q := range queues {
		if depth, ok := depths[q.DeadQueue()]; ok {
			known[q.Name] = depth.Ready
		}
	}
	return known, nil
}

// List implements [ops.DeadLetters].
func (d deskLetters) List(ctx context.Context, queue string, each func(event.DeadLetter) error) error {
	return refused(NewDeadLetters(d.cfg, nil, queue).List(ctx, ops.Selection{}, each))
}

// Show implements [ops.DeadLetters].
func (d deskLetters) Show(
	ctx context.Context, queue string, s ops.Selection, each func(ops.Detail) error,
) error {
	return refused(NewDeadLetters(d.cfg, nil, queue).Show(ctx, s, each))
}

// Handle implements [ops.DeadLetters].
func (d deskLetters) Handle(ctx context.Context, w ops.Work, r ops.Reports) error {
	letters := NewDeadLetters(d.cfg, d.db, w.Queue)
	letters.PerSecond = w.PerSecond
	letters.Progress = func(int, int) { r.Seen() }
	letters.Failed = func(l event.DeadLetter, err error) error { return r.Failed(l, aboutLetter(err)) }
	if w.Action == ops.Replay {
		return refused(letters.Replay(ctx, w.Selection, r.Handled))
	}
	return refused(letters.Discard(ctx, w.Selection, func(o ops.Outcome) error {
		// Without a level: LOGGER_LEVEL must not swallow the only record there is of the letter.
		d.log.Log().Str("queue", o.Queue).Str("event_id", o.EventID).Str("routing_key", o.RoutingKey).
			Str("dead_reason", o.Reason).Str("reason", w.Why).Str("operator", w.By).Msg("dead letter discarded")
		return r.Handled(o)
	}))
}

// refused returns err as the desk knows it.
func refused(err error) error {
	if errors.Is(err, rabbitmq.ErrBusy) {
		return ops.ErrBusy
	}
	return err
}

// aboutLetter returns why a letter stays, without what a database says of its rows.
func aboutLetter(err error) error {
	for _, known := range []error{event.ErrRejected, event.ErrRefused, event.ErrUnroutable} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("the mail ledger cannot be used: %w", plain(err))
}

// deskRecords writes the audit.
type deskRecords struct{ *infra }

// Record implements [ops.Records].
func (d deskRecords) Record(ctx context.Context, operator string, action audit.Action, subject, reason string) error {
	return plain(recordOperation(ctx, d.db, d.clock, operator, action, subject, reason))
}
