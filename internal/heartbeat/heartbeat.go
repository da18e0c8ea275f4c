package heartbeat

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/pkg/database"
)

const (
	// BeatEvery is how often a process renews its row.
	BeatEvery = 10 * time.Second
	// beatTimeout bounds one write, the last included: a database that hangs does not hold up a stop.
	beatTimeout = 2 * time.Second
)

// Clock returns the database's time.
type Clock interface{ Now() time.Time }

// reportTimeout bounds what a report asks for, so that the rest of beatTimeout is left to store it.
const reportTimeout = beatTimeout / 2

// Deps are what a Heartbeat needs; all but Note and Report are required.
type Deps struct {
	DB      *database.DB
	Clock   Clock
	Role    string // api or consumer
	Version string
	Note    string // stored with the row as it is
	// Report returns what only the process itself knows. It is stored with every beat as it is.
	Report func(ctx context.Context) string
	Log    zerolog.Logger
}

// Heartbeat keeps the row of this process.
type Heartbeat struct {
	deps    Deps
	self    Process
	ticks   <-chan time.Time // nil: every BeatEvery
	failing bool             // the last write failed
}

// New returns a Heartbeat that beats once Run does.
func New(d Deps) *Heartbeat {
	return &Heartbeat{deps: d, self: Process{
		ID:      uuid.Must(uuid.NewV7()).String(),
		Role:    d.Role,
		Version: d.Version,
		Note:    d.Note,
	}}
}

// ID returns the id of this process.
func (h *Heartbeat) ID() string { return h.self.ID }

// Run beats at once and every BeatEvery until ctx ends, records that the process has stopped, and returns nil. A write
// that fails is logged once per outage.
func (h *Heartbeat) Run(ctx context.Context) error {
	ticks := h.ticks
	if ticks == nil {
		ticks = time.Tick(BeatEvery)
	}
	h.self.StartedAt = h.deps.Clock.Now()
	for {
		h.beat(ctx)
		select {
		case <-ctx.Done():
			h.self.StoppedAt = new(h.deps.Clock.Now())
			h.beat(ctx)
			return nil
		case <-ticks:
		}
	}
}

// beat has a deadline of its own, so that the last beat is not cut short by the end of ctx.
func (h *Heartbeat) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatTimeout)
	defer cancel()
	h.self.Report = h.report(ctx)
	h.self.SeenAt = h.deps.Clock.Now()
	err := save(ctx, h.deps.DB, h.self)
	switch {
	case err != nil && !h.failing:
		h.deps.Log.Warn().Err(err).Msg("heartbeat failed; operators' commands may overlook this process")
	case err == nil && h.failing:
		h.deps.Log.Info().Msg("heartbeat recovered")
	}
	h.failing = err != nil
}

func (h *Heartbeat) report(ctx context.Context) string {
	if h.deps.Report == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	return h.deps.Report(ctx)
}
