package app

import (
	"context"
	"time"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	ops "github.com/smap-platform/identity/internal/operations"
	operationsql "github.com/smap-platform/identity/internal/operations/repository/sqldb"
	operationcases "github.com/smap-platform/identity/internal/operations/usecase"
	"github.com/smap-platform/identity/internal/status"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/lifecycle"
)

// pausesEvery is how often a process asks which of its lanes a person has paused.
const pausesEvery = 2 * time.Second

// newLanes returns what pauses and resumes lanes.
func newLanes(db *database.DB, tx transactor, clock *database.Clock) *operationcases.Lanes {
	return operationcases.NewLanes(operationcases.LanesDeps{
		Tx:     tx,
		Pauses: operationsql.NewLanePauses(db),
		Audit:  newRecorder(db, clock),
		Clock:  clock,
		Names:  mailQueues,
	})
}

// followPauses has the lanes of this process take nothing while a person has paused them, until ctx ends.
func (a *App) followPauses(ctx context.Context) error {
	return lifecycle.Every(ctx, pausesEvery, a.readPauses)
}

// readPauses halts and resumes the lanes of this process. While the database cannot be read, what was known last holds;
// where nothing was known yet, nothing is sent.
func (a *App) readPauses(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pausesEvery)
	defer cancel()
	halts, err := readHalts(ctx, a.db)
	switch {
	case err != nil && ctx.Err() == nil && !a.pausesUnread:
		a.log.Warn().Err(err).Msg("it cannot be read which lanes are paused; what was known last holds")
	case err == nil && a.pausesUnread:
		a.log.Info().Msg("it can be read again which lanes are paused")
	}
	a.pausesUnread = err != nil
	for _, lane := range a.lanes {
		if err != nil {
			if !a.pausesKnown {
				lane.Halt(event.Halt{Reason: "it could not be read yet whether a person has paused it", Since: a.started})
			}
			continue
		}
		a.obey(lane, halts)
	}
	a.pausesKnown = a.pausesKnown || err == nil
}

// obey halts or resumes a lane as halts say, and logs what is new.
func (a *App) obey(lane *event.Lane, halts map[string]event.Halt) {
	log := a.log.With().Str("queue", lane.State().Queue).Logger()
	h, halted := halts[lane.State().Queue]
	switch {
	case halted && lane.Halt(h):
		log.Warn().Str("by", h.By).Str("reason", h.Reason).Time("since", h.Since).
			Msg("mail is paused by an operator; messages wait in the queue until consumer lane resume")
	case !halted && lane.Resume():
		log.Info().Msg("mail is resumed by an operator")
	}
}

// readHalts returns the pauses by people, by queue.
func readHalts(ctx context.Context, db *database.DB) (map[string]event.Halt, error) {
	pauses, err := operationsql.NewLanePauses(db).All(ctx)
	if err != nil {
		return nil, plain(err)
	}
	halts := make(map[string]event.Halt, len(pauses))
	for _, p := range pauses {
		halts[p.Queue] = event.Halt{By: p.By, Reason: p.Reason, Since: p.Since}
	}
	return halts, nil
}

// operatedLanes are the lanes as the console has them.
type operatedLanes struct {
	*operationcases.Lanes
	app *App
}

// List implements [ops.Lanes].
func (l operatedLanes) List(ctx context.Context) ([]status.Lane, error) {
	halts, err := readHalts(ctx, l.app.db)
	if err != nil {
		return nil, err
	}
	processes, err := l.app.processes(ctx)
	return status.Lanes(mailQueues, processes, halts, l.app.clock.Now()), err
}

// Lanes pauses, resumes and lists lanes on the command line.
type Lanes struct {
	cases *operationcases.Lanes
	db    *database.DB
	clock *database.Clock
}

// NewLanes returns the lanes of the service whose database db is.
func NewLanes(ctx context.Context, cfg config.Config, db *database.DB) (*Lanes, error) {
	clock, err := onThisRelease(ctx, &cfg, db)
	if err != nil {
		return nil, err
	}
	return &Lanes{newLanes(db, db, clock), db, clock}, nil
}

// Pause takes a lane out of use, in the name of operator.
func (l *Lanes) Pause(ctx context.Context, operator, queue, reason string) error {
	_, err := l.cases.Pause(audit.WithOrigin(ctx, audit.Origin{Operator: operator}), queue, reason)
	return err
}

// Resume takes a lane into use again, in the name of operator, and returns the pause that it ends.
func (l *Lanes) Resume(ctx context.Context, operator, queue string) (ops.LanePause, error) {
	return l.cases.Resume(audit.WithOrigin(ctx, audit.Origin{Operator: operator}), queue)
}

// List returns every lane as processes and people have it.
func (l *Lanes) List(ctx context.Context) ([]status.Lane, error) {
	halts, err := readHalts(ctx, l.db)
	if err != nil {
		return nil, err
	}
	now := l.clock.Now()
	processes, err := readProcesses(ctx, l.db, now)
	if err != nil {
		return nil, plain(err)
	}
	return status.Lanes(mailQueues, processes, halts, now), nil
}
