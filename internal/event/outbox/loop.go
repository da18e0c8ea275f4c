package outbox

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// Poll is how often a relay looks for rows of a process that died between commit and nudge, and how long it waits after
// a failure.
const Poll = time.Second

// Loop runs the steps of a relay and wakes it.
type Loop struct {
	table Table
	log   zerolog.Logger
	nudge chan struct{}
}

// NewLoop returns the Loop of a relay of t.
func NewLoop(t Table, log zerolog.Logger) *Loop {
	return &Loop{table: t, log: log, nudge: make(chan struct{}, 1)}
}

// Wake makes the relay look at once. It never blocks.
func (l *Loop) Wake() {
	select {
	case l.nudge <- struct{}{}:
	default:
	}
}

// Run calls step until ctx ends and returns nil. step returns how many rows it claimed and how long to rest then, unless
// woken. failing says that the last step failed. An error is logged once per outage, and step called again after Poll.
func (l *Loop) Run(ctx context.Context, step func(failing bool) (rows int, rest time.Duration, err error)) error {
	failing := false
	for ctx.Err() == nil {
		n, rest, err := step(failing)
		nudge := l.nudge
		switch {
		case err != nil:
			if !failing {
				l.log.Warn().Err(err).Str("table", string(l.table)).Msg("rows wait to be published; retrying every second")
			}
			failing = true
			rest = Poll
			nudge = nil // deaf: a burst of registrations must not turn into a burst of tries
		case failing && n > 0:
			l.log.Info().Str("table", string(l.table)).Msg("rows are being published again")
			failing = false
		}
		if rest == 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-nudge:
		case <-time.After(rest):
		}
	}
	return nil
}
