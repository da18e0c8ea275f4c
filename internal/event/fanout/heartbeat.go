package fanout

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/pkg/database"
)

const (
	// BeatEvery is how often a process says that it lives.
	BeatEvery = 10 * time.Second
	// beatTimeout bounds one write, the last one included: a stop is not held up by a database that hangs.
	beatTimeout = 2 * time.Second
)

// Clock tells the database's time.
type Clock interface{ Now() time.Time }

// Heartbeat keeps this process's row, from which the operator's command learns who runs in which phase.
type Heartbeat struct {
	db    *database.DB
	clock Clock
	self  Process
	log   zerolog.Logger
	ticks <-chan time.Time // nil: every BeatEvery
	mute  bool             // the last write failed
}

// NewHeartbeat answers a Heartbeat that beats once Run does. role is api or consumer.
func NewHeartbeat(db *database.DB, clock Clock, role, version string, phase Phase, log zerolog.Logger) *Heartbeat {
	return &Heartbeat{
		db: db, clock: clock, log: log,
		self: Process{ID: uuid.Must(uuid.NewV7()).String(), Role: role, Version: version, Phase: phase},
	}
}

// Run beats at once and every BeatEvery until ctx ends, writes down that the process has stopped, and answers nil. A
// write that fails is logged once per outage: nobody's mail depends on it.
func (h *Heartbeat) Run(ctx context.Context) error {
	ticks := h.ticks
	if ticks == nil {
		ticker := time.NewTicker(BeatEvery)
		defer ticker.Stop()
		ticks = ticker.C
	}
	h.self.StartedAt = h.clock.Now()
	for {
		h.beat(ctx)
		select {
		case <-ctx.Done():
			h.self.StoppedAt = new(h.clock.Now())
			h.beat(ctx)
			return nil
		case <-ticks:
		}
	}
}

// beat is not cut by the end of ctx: its own deadline is short.
func (h *Heartbeat) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatTimeout)
	defer cancel()
	h.self.SeenAt = h.clock.Now()
	err := saveProcess(ctx, h.db, h.self)
	switch {
	case err != nil && !h.mute:
		h.log.Warn().Err(err).Msg("this process cannot write down that it lives; the fanout commands may overlook it")
	case err == nil && h.mute:
		h.log.Info().Msg("this process can write down again that it lives")
	}
	h.mute = err != nil
}
