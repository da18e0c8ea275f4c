package outbox

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/pkg/database"
)

// Poll is how often a relay looks for rows of a process that died between commit and nudge, and how long it waits after
// a failure.
const Poll = time.Second

// keyEvery is how often a relay looks for rows that it cannot open.
const keyEvery = 10 * time.Second

// Loop runs the steps of a relay and wakes it.
type Loop struct {
	table Table
	log   zerolog.Logger
	nudge chan struct{}
	// foreign is how many rows were sealed with another key when it was last looked. It is looked again at keysDue.
	foreign atomic.Int64
	keysDue time.Time
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

// CheckKeys looks for rows that were sealed with another key than those of keyIDs, the first time at once and then every 10 s.
// They are left to the processes that have it; when there are some is logged once.
func (l *Loop) CheckKeys(ctx context.Context, db *database.DB, keyIDs []string) {
	now := time.Now()
	if now.Before(l.keysDue) {
		return
	}
	l.keysDue = now.Add(keyEvery)
	n, err := l.table.sealedElsewhere(ctx, db, keyIDs)
	if err != nil {
		return // the next claim says what is wrong
	}
	switch before := l.foreign.Swap(int64(n)); {
	case n > 0 && before == 0:
		l.log.Error().Str("table", string(l.table)).Int("rows", n).Strs("key_ids", keyIDs).
			Msg("rows are sealed with another EVENTS_SEAL_KEY, and left to processes that have it; set it as EVENTS_SEAL_KEY_PREVIOUS")
	case n == 0 && before > 0:
		l.log.Info().Str("table", string(l.table)).Msg("no row is sealed with another EVENTS_SEAL_KEY any more")
	}
}

// KeyError returns an error while there are rows that this process cannot open.
func (l *Loop) KeyError() error {
	if n := l.foreign.Load(); n > 0 {
		return fmt.Errorf("%d rows of %s are sealed with another EVENTS_SEAL_KEY than this process has", n, l.table)
	}
	return nil
}

// Foreign returns how many rows were sealed with another key when CheckKeys last looked.
func (l *Loop) Foreign() int { return int(l.foreign.Load()) }
